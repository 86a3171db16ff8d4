"""Passes the session's turns from the turn thread to the writer thread.

Neither thread waits for the other: only the latest version of each part is kept, and a limited
number of parts, so that a disk that hangs for long costs turns, not memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from edgerec.audio import TRACKS, TrackName, TurnPart

MAX_PARTS: Final = 256
"""Maximum number of unwritten parts per speaker: one every 0.2 s over the length of the history."""


class TurnBoard:
    """The parts of turns that are not written yet; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[TrackName, dict[tuple[int, int], TurnPart]] = {t: {} for t in TRACKS}
        self._dropped = 0
        self._complete = threading.Event()
        self._given_up = False

    @property
    def dropped(self) -> int:
        """Number of parts dropped because too many were waiting."""
        return self._dropped

    def post(self, parts: Iterable[TurnPart]) -> None:
        """Take in what is new of some parts."""
        with self._lock:
            for part in parts:
                waiting = self._parts[part.speaker]
                waiting[part.number, part.part] = part
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
