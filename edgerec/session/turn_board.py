"""What is known of the session's turns, from the turn thread to the writer thread.

Nobody waits for the other: of each part only the latest word is kept, and of parts only so many
that a disk which hangs for long costs turns, not memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from edgerec.audio import TRACKS, TrackName, TurnPart

MAX_PARTS: Final = 256
"""Of one speaker, that are not written: a part every 0.2 s for as long as the history holds."""


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
        """How many parts were given up because too many were waiting."""
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
        """Take a part as written."""
        with self._lock:
            del self._parts[part.speaker][part.number, part.part]

    def complete(self) -> None:
        """Say that nothing more comes."""
        self._complete.set()

    def wait_complete(self, timeout_s: float) -> bool:
        """Wait until nothing more comes; return whether that is so.

        In vain only once: who has waited before is told at once. For one thread.
        """
        complete = self._complete.wait(0 if self._given_up else timeout_s)
        self._given_up = self._given_up or not (complete or timeout_s == 0)
        return complete
