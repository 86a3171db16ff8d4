"""Runs a full garbage collection periodically so that CPython returns unused memory.

CPython keeps freed objects for reuse (of tuples alone up to 2000 of each length), and reference
cycles until they are an eighth of all objects: a megabyte that takes a day to be reached, and looks
like a leak. A collection costs milliseconds, in which only the capture children run.
"""

from __future__ import annotations

import gc
from typing import Final

COLLECT_NS: Final = 600 * 1_000_000_000


class SpareMemory:
    """Returns unused memory every ten minutes, in whichever thread calls `step`."""

    def __init__(self) -> None:
        self._collected_ns: int | None = None

    def step(self, now_ns: int) -> None:
        """Return unused memory, if that was not done recently."""
        if self._collected_ns is None:
            self._collected_ns = now_ns
        elif now_ns - self._collected_ns >= COLLECT_NS:
            self._collected_ns = now_ns
            gc.collect()
