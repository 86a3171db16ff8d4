"""The history ring: the last seconds of the timeline, and the only queue of audio.

One writer (the recorder thread), any number of readers with cursors of their own, no locks.
Positions are absolute timeline frames that only grow, so a reader that falls behind loses audio
and learns how much, but never loses its place. Every frame is marked as audio or with the reason
of a gap: recorded and missing frames add up by construction.

Relies on the GIL to publish counters and samples in program order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame


class OverrunError(Exception):
    """The frames asked for were overwritten; the first `lost` of them are gone."""

    def __init__(self, lost: int) -> None:
        super().__init__(f"history overrun: {lost} frames lost")
        self.lost = lost


class HistoryError(Exception):
    """The writer exceeded what the ring can hold: the engine itself is broken, not a track."""


class History:
    """The last `capacity` timeline frames of all tracks.

    Every track is appended to on its own; readers see frames once they are committed on all.

    Parameters
    ----------
    capacity
        Number of frames held per track, those not yet committed included.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._pcm = np.zeros((len(TRACKS), capacity), dtype=np.int16)
        self._reasons = np.zeros((len(TRACKS), capacity), dtype=np.uint8)
        self._ends = [0] * len(TRACKS)
        self._claimed = 0
        self._committed = 0

    @property
    def capacity(self) -> int:
        """Number of frames held per track."""
        return self._capacity

    @property
    def committed(self) -> TimelineFrame:
        """All tracks are final before this frame; readers may read up to it."""
        return TimelineFrame(self._committed)

    @property
    def oldest(self) -> TimelineFrame:
        """First frame that is not overwritten; for any thread."""
        return TimelineFrame(max(self._claimed - self._capacity, 0))

    def end(self, track: int) -> TimelineFrame:
        """Return the frame after the last one appended to a track (index into TRACKS)."""
        return TimelineFrame(self._ends[track])

    def append(self, track: int, pcm: NDArray[np.int16]) -> None:
        """Append audio (int16, shape (frames,)) to one track."""
        taken = 0
        for place in self._claim(track, len(pcm)):
            self._pcm[track, place] = pcm[taken : taken + (place.stop - place.start)]
            self._reasons[track, place] = GapReason.QUIET
            taken += place.stop - place.start

    def silence(self, track: int, frames: int, reason: GapReason) -> None:
        """Append silence to one track; a gap, unless the reason is QUIET."""
        for place in self._claim(track, frames):
            self._pcm[track, place] = 0
            self._reasons[track, place] = reason

    def commit(self, stop: TimelineFrame) -> None:
        """Let readers read everything before `stop`; never goes back.

        Raises
        ------
        HistoryError
            A track does not reach that far.
        """
        if stop > min(self._ends):
            raise HistoryError(f"can't commit up to {stop}: the tracks end at {self._ends}")
        self._committed = max(self._committed, stop)

    def read(self, start: TimelineFrame, frames: int) -> Span:
        """Copy out frames [start, start + frames) of all tracks; for any thread.

        Raises
        ------
        OverrunError
            The writer has overwritten `start`, before the copy or during it.
        ValueError
            Some of the frames are not committed yet.
        """
        if start + frames > self._committed:
            raise ValueError(f"can't read {start}+{frames}: only {self._committed} are committed")
        self._check_kept(start, frames)
        pcm = np.empty((len(TRACKS), frames), dtype=np.int16)
        reasons = np.empty((len(TRACKS), frames), dtype=np.uint8)
        taken = 0
        for place in self._places(start, frames):
            stop = taken + place.stop - place.start
            pcm[:, taken:stop] = self._pcm[:, place]
            reasons[:, taken:stop] = self._reasons[:, place]
            taken = stop
        # Again: the writer claims before it overwrites, so frames that changed during the copy
        # are never taken for whole ones.
        self._check_kept(start, frames)
        return Span(start, pcm, reasons)

    def _check_kept(self, start: int, frames: int) -> None:
        lost = self.oldest - start
        if lost > 0:
            raise OverrunError(min(lost, frames))

    def _claim(self, track: int, frames: int) -> Iterator[slice]:
        start = self._ends[track]
        if start + frames - self._committed > self._capacity:
            raise HistoryError(
                f"track {track} would run {start + frames - self._committed} frames ahead of "
                f"the commit; the ring holds {self._capacity}"
            )
        self._claimed = max(self._claimed, start + frames)
        yield from self._places(start, frames)
        self._ends[track] = start + frames

    def _places(self, start: int, frames: int) -> Iterator[slice]:
        first = start % self._capacity
        head = min(frames, self._capacity - first)
        if head:
            yield slice(first, first + head)
        if frames > head:
            yield slice(0, frames - head)
