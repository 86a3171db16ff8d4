"""One track's position on a session's timeline: its end, its silence, its late frames; the pauses.

Nothing sampled in a pause passes beyond the resampler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import GapReason, TimelineFrame
from edgerec.sync.history import History

ENDLESS: Final = 1 << 62  # frames; the end of a pause that still lasts


class Pauses:
    """The pauses of one session that tracks may still have to fill; for the recorder thread only.

    A pause begins where no track has been placed yet, so that it is complete on every track.
    """

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int]] = deque()

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Start and stop of each pause, in order."""
        return tuple(self._spans)

    def begin(self, start: TimelineFrame) -> None:
        """Pause from this frame on; a pause that reaches this frame is continued instead."""
        if self._spans and start <= self._spans[-1][1]:
            start = TimelineFrame(self._spans.pop()[0])
        self._spans.append((start, ENDLESS))

    def end(self, stop: TimelineFrame) -> None:
        """End the pause that lasts before this frame."""
        start, _ = self._spans.pop()
        self._spans.append((start, max(start, stop)))

    def pieces(self, start: int, frames: int) -> Iterator[tuple[int, bool]]:
        """Cut frames from `start` on where pauses begin and end: lengths, and whether paused."""
        at, stop = start, start + frames
        for first, last in self._spans:
            inside, behind = min(max(first, at), stop), min(max(last, at), stop)
            if inside > at:
                yield inside - at, False
            if behind > inside:
                yield behind - inside, True
            at = max(at, behind)
        if stop > at:
            yield stop - at, False

    def forget(self, before: TimelineFrame) -> None:
        """Forget the pauses that end before a frame that no track will place any more."""
        while self._spans and self._spans[0][1] < before:
            self._spans.popleft()


class Placement:
    """One track's place in the history of one session; for the recorder thread only.

    Parameters
    ----------
    epoch_ns
        The instant of timeline frame 0 on CLOCK_MONOTONIC_RAW, as this track's device sees it:
        the device's constant lateness is already added.
    rate
        Sampling rate of the timeline, in Hz.
    index
        Index of the track in TRACKS.
    pauses
        The session's pauses: whatever is placed in them is silence.
    """

    def __init__(
        self, epoch_ns: float, rate: int, history: History, index: int, pauses: Pauses
    ) -> None:
        self._epoch_ns = epoch_ns
        self._rate = rate
        self._history = history
        self._index = index
        self._pauses = pauses
        self.late_frames = 0
        """Number of frames that came when their place was already committed as silence."""
        self.refused_frames = 0
        """Number of frames that were pushed into a feed and refused."""

    def count_on(self, before: Placement) -> None:
        """Take over the counts of another placement on the same track."""
        self.late_frames = before.late_frames
        self.refused_frames = before.refused_frames

    @property
    def rate(self) -> int:
        """Sampling rate of the timeline, in Hz."""
        return self._rate

    @property
    def end(self) -> TimelineFrame:
        """The frame after the last one placed."""
        return self._history.end(self._index)

    def position(self, instant_ns: float) -> float:
        """Return the timeline position of an instant."""
        return (instant_ns - self._epoch_ns) * 1e-9 * self._rate

    def instant_ns(self, position: float) -> float:
        """Return the instant of a timeline position."""
        return self._epoch_ns + position * 1e9 / self._rate

    def audio(self, start: TimelineFrame, pcm: NDArray[np.int16]) -> None:
        """Place audio at `start`, which the track has reached; what it is past already is late."""
        late = min(self.end - start, len(pcm))
        self.late_frames += late
        taken = late
        for frames, paused in self._pauses.pieces(self.end, len(pcm) - late):
            if paused:
                self._history.silence(self._index, frames, GapReason.PAUSE)
            else:
                self._history.append(self._index, pcm[taken : taken + frames])
            taken += frames

    def silence_to(self, stop: int, reason: GapReason) -> None:
        """Place silence up to `stop`; nothing if the track is already there."""
        for frames, paused in self._pauses.pieces(self.end, max(stop - self.end, 0)):
            why = GapReason.PAUSE if paused else reason
            self._history.silence(self._index, frames, why)

    def paused(self) -> tuple[tuple[int, int], ...]:
        """Return start and stop of the pauses that may concern what is placed next."""
        return self._pauses.spans
