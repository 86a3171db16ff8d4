"""Limits the rate of log lines of one kind, so that no client's requests can fill the journal.

A kind is a line's fixed sentence. Lines left out are counted, and the count is logged before the
next line of that kind.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LINES_AT_ONCE: Final = 200  # of one kind: a start after a crash has a line for every file
LINES_PER_S: Final = 10.0  # from then on: chunks of a second, in three files, with turns, are fewer
MAX_KINDS: Final = 1000  # there are some 200; beyond, all begin again


@dataclass(slots=True)
class _Kind:
    left: float
    since_s: float
    left_out: int = 0


class LogLimit:
    """Decides which records are written; for one thread at a time, as handlers are called.

    Parameters
    ----------
    now_s
        Monotonic time.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admit(self, record: logging.LogRecord) -> int | None:
        """Return how many lines of this kind were left out before; None: this one is left out."""
        now_s = self._now_s()
        name = record.name, str(record.msg)
        if name not in self._kinds and len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        kind = self._kinds.setdefault(name, _Kind(LINES_AT_ONCE, now_s))
        kind.left = min(kind.left + (now_s - kind.since_s) * LINES_PER_S, LINES_AT_ONCE)
        kind.since_s = now_s
        if kind.left < 1:
            kind.left_out += 1
            return None
        kind.left -= 1
        left_out, kind.left_out = kind.left_out, 0
        return left_out
