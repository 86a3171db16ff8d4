"""What does CPython keep for later, and who makes it let go: a full collection now and then.

It keeps freed objects for reuse (of tuples alone up to 2000 of each length), and what refers to
itself until an eighth of all objects is such: a megabyte that takes a day to be reached, and looks
like a leak. A collection costs milliseconds, in which only the capture children go on.
"""

from __future__ import annotations

import gc
from typing import Final

COLLECT_NS: Final = 600 * 1_000_000_000


class SpareMemory:
    """Given back every ten minutes, by whichever thread calls `step`."""

    def __init__(self) -> None:
        self._collected_ns: int | None = None

    def step(self, now_ns: int) -> None:
        """Give back what is spare, if it was not done lately."""
        if self._collected_ns is None:
            self._collected_ns = now_ns
        elif now_ns - self._collected_ns >= COLLECT_NS:
            self._collected_ns = now_ns
            gc.collect()
