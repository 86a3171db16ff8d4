"""Passes turns and the gate of speech from the turn thread to the writer thread.

Neither thread waits for the other without a limit. Only the latest version of each part of a turn
is kept, and a limited number of parts, so that a disk that hangs for long costs turns, not memory.

With `user_continuous_stream: false`, the gate decides which of the user's frames are recorded:
those of the turns, pre-roll and hangover included; every other one becomes digital silence. What is
not decided within a limited time is recorded unchanged. Speech is never lost to a slow detector.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Final

from edgerec.audio import TRACKS, Span, TimelineFrame, TrackName, TurnPart

log = logging.getLogger(__name__)

MAX_PARTS: Final = 256
"""Maximum number of unwritten parts per speaker: one every 0.2 s over the length of the history."""


class TurnBoard:
    """The parts of turns that are not written yet; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[TrackName, dict[tuple[int, int], TurnPart]] = {t: {} for t in TRACKS}
        self._dropped = 0
        self._ended = 0
        self._complete = threading.Event()
        self._given_up = False

    @property
    def dropped(self) -> int:
        """Number of parts dropped because too many were waiting."""
        return self._dropped

    @property
    def ended(self) -> int:
        """Number of posts of a part that has ended."""
        return self._ended

    def post(self, parts: Iterable[TurnPart]) -> None:
        """Take in what is new of some parts."""
        with self._lock:
            for part in parts:
                waiting = self._parts[part.speaker]
                waiting[part.number, part.part] = part
                self._ended += part.ended is not None
                if len(waiting) > MAX_PARTS:
                    # Not the first: the writer may be in the middle of it.
                    _, second, *_ = waiting
                    del waiting[second]
                    self._dropped += 1

    def pending(self, speaker: TrackName) -> list[TurnPart]:
        """Return the parts of a speaker that are not written, in order."""
        with self._lock:
            return list(self._parts[speaker].values())

    def remove(self, part: TurnPart) -> None:
        """Remove a part that is written."""
        with self._lock:
            del self._parts[part.speaker][part.number, part.part]

    def complete(self) -> None:
        """Note that nothing more comes."""
        self._complete.set()

    def wait_complete(self, timeout_s: float) -> bool:
        """Wait until nothing more comes; return whether that is so.

        It times out only once: further calls return at once. For one thread.
        """
        complete = self._complete.wait(0 if self._given_up else timeout_s)
        self._given_up = self._given_up or not (complete or timeout_s == 0)
        return complete


USER: Final = TRACKS.index("user")
MAX_KEPT: Final = 512  # stretches; a turn a second for as long as the longest ring holds


class SpeechGate:
    """The speech gate of one session; for any thread.

    Parameters
    ----------
    patience
        Maximum lag of a decision after the last committed frame, in frames.
    reach
        Number of frames before the decided ones that may still be read, as after a disk failure.
    """

    def __init__(self, patience: int, reach: int) -> None:
        self._patience = patience
        self._reach = reach
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, int]] = deque()  # [start, stop), in order and apart
        self._decided = 0
        self._open = False
        self._told = False

    @property
    def decided(self) -> TimelineFrame:
        """The frame before which it is decided what is kept."""
        return TimelineFrame(self._decided)

    def keep(self, stretches: Iterable[tuple[int, int]], decided: int) -> None:
        """Take in which frames are speech, and up to where no others are.

        Parameters
        ----------
        stretches
            Frames [start, stop) that are kept, none of them before the last ones. They may extend
            earlier ones.
        decided
            The decided frame; an earlier one than before changes nothing.
        """
        with self._lock:
            for start, stop in sorted(stretches):
                if self._kept and start <= self._kept[-1][1]:
                    first, last = self._kept.pop()
                    start, stop = min(first, start), max(last, stop)
                if start < stop:
                    self._kept.append((start, stop))
            self._decided = max(self._decided, decided)
            self._forget()

    def open(self) -> None:
        """Keep all that is not decided: no more decisions will come."""
        with self._lock:
            self._open = True

    def writable(self, committed: TimelineFrame) -> TimelineFrame:
        """Return up to where frames may be written, of those that are committed."""
        with self._lock:
            if self._open:
                return committed
            patient = committed - self._patience
            if patient > self._decided and not self._told:
                self._told = True  # once a session: it happens with every piece, if it does
                log.warning(
                    "speech detection is too slow, everything is recorded frame=%d",
                    self._decided,
                )
            return TimelineFrame(min(committed, max(self._decided, patient)))

    def silenced(self, span: Span) -> Span:
        """Return a span with the user's track silenced where it is not kept."""
        stop = span.start + span.frames
        with self._lock:
            kept = [(max(a, span.start), min(b, stop)) for a, b in self._kept]
            decided = min(stop, self._decided)
        pcm = span.pcm.copy()
        position = int(span.start)
        for start, end in (*((a, b) for a, b in kept if a < b), (decided, stop)):
            silent = min(start, decided)
            if position < silent:
                pcm[USER, position - span.start : silent - span.start] = 0
            position = max(position, end)
        return Span(span.start, pcm, span.reasons)

    def _forget(self) -> None:
        while self._kept and self._kept[0][1] < self._decided - self._reach:
            self._kept.popleft()
        while len(self._kept) > MAX_KEPT:
            # Too many to remember: what is between two of them is kept, too.
            first, second = self._kept.popleft(), self._kept.popleft()
            self._kept.appendleft((first[0], second[1]))
