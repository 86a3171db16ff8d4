"""Memory, CPU time and number of edgerec's processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec import kernel

PROC: Final = Path("/proc")
RECENT_NS: Final = 1_000_000_000

_ROLLUP: Final = re.compile(r"^(Pss|Rss):\s+(\d+) kB$", re.MULTILINE)
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_UTIME: Final = 11  # proc(5), stat: counted after the name; then stime, cutime, cstime


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources used at present by this process and everything that it has started."""

    processes: int
    pss_bytes: int | None
    """Proportional set size: shared pages are divided among those that share them. None where the
    kernel does not report it."""
    rss_bytes: int | None
    cpu_seconds: float
    """CPU time since the start, including processes that have ended and been reaped."""


class RecentUsage:
    """Usage, measured at most once a second: a meter asks five times a second. For any thread."""

    def __init__(self, measure: Callable[[], Usage] | None = None) -> None:
        self._measure = measure or usage
        self._known: tuple[int, Usage] | None = None  # replaced as a whole

    def at(self, now_ns: int) -> Usage:
        """Return the usage, at most a second old; `now_ns` is on CLOCK_MONOTONIC_RAW."""
        known = self._known
        if known is None or now_ns - known[0] >= RECENT_NS:
            known = self._known = (now_ns, self._measure())
        return known[1]


def usage(proc: Path = PROC) -> Usage:
    """Return the usage of this process and all its descendants.

    Takes milliseconds: the kernel walks through their page tables.
    """
    pids = _family(proc, os.getpid())
    rollups = [_rollup(proc / str(pid)) for pid in pids]
    known = [rollup for rollup in rollups if rollup is not None]
    return Usage(
        processes=len(pids),
        pss_bytes=sum(pss for pss, _ in known) if known else None,
        rss_bytes=sum(rss for _, rss in known) if known else None,
        cpu_seconds=round(sum(_cpu_s(proc / str(pid)) for pid in pids), 2),
    )


def _family(proc: Path, pid: int) -> list[int]:
    """Return a process and its descendants; those that end meanwhile are left out."""
    family = [pid]
    for parent in family:  # grows as it goes
        try:
            for thread in (proc / str(parent) / "task").iterdir():
                family += [int(child) for child in kernel.read_text(thread / "children").split()]
        except OSError:
            continue
    return family


def _rollup(process: Path) -> tuple[int, int] | None:
    """Return (PSS, RSS) in bytes; None for a process that has ended, or that hides it."""
    try:
        found = dict(_ROLLUP.findall(kernel.read_text(process / "smaps_rollup")))
        return int(found["Pss"]) * 1024, int(found["Rss"]) * 1024
    except (OSError, KeyError):
        return None


def _cpu_s(process: Path) -> float:
    try:
        fields = kernel.read_text(process / "stat").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[_UTIME : _UTIME + 4]) / _TICKS_PER_S
