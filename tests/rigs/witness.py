"""A process that records how late this machine was while a test in real time ran.

One thread per core sleeps until absolute deadlines; what it sleeps too long is time in which that
core ran something else, or nothing because the hypervisor gave it to another machine (`steal` in
/proc/stat). A test whose bound was exceeded asks whether the machine stood still for as long: see
`Witness.explain`. It is a process of its own, so that a busy test does not make it late.
"""

import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from edgerec.clock import raw_now_ns
from tests.rigs.waiting import wait_for

PERIOD_S = 0.01
LATE_NS = 5_000_000  # shorter ones are what any timer of a multitasking system does
BEATS = 10  # a record every so many periods, late or not: up to there everything is known
RECORD = struct.Struct("<qqq")  # core, woke_ns on CLOCK_MONOTONIC_RAW, late_ns
JIFFY_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STEAL_FIELD = 8  # proc(5): /proc/stat
ALL_CORES = -1  # stolen time, which no thread of ours need have noticed


class MachineStalledError(Exception):
    """A bound was exceeded while this machine stood still for as long: the test is repeated."""


class Witness:
    """The running witness, and what it has seen so far.

    Parameters
    ----------
    file
        Its records; a new file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._process = subprocess.Popen([sys.executable, "-m", __name__, str(file)])
        wait_for(lambda: file.exists() and self._known_ns(self._records()) > 0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stalls(self, start_ns: int, stop_ns: int) -> dict[int, list[float]]:
        """Return how long each core was late in a span of CLOCK_MONOTONIC_RAW, in s.

        Waits until the witness knows of the whole span.
        """
        wait_for(lambda: self._known_ns(self._records()) > stop_ns)
        stalls: dict[int, list[float]] = {}
        for core, woke_ns, late_ns in self._records():
            inside_ns = min(woke_ns, stop_ns) - max(woke_ns - late_ns, start_ns)
            if late_ns and inside_ns > 0:
                stalls.setdefault(core, []).append(inside_ns / 1e9)
        return stalls

    def lost_s(self, start_ns: int, stop_ns: int) -> float:
        """Return for how long in all the worst core kept its thread waiting."""
        return max((sum(late) for late in self.stalls(start_ns, stop_ns).values()), default=0.0)

    def explain(
        self, problem: str, start_ns: int, stop_ns: int, *, stall_s: float, waited_s: float = 0.0
    ) -> NoReturn:
        """Raise: the problem is the machine's where it was late for `stall_s` in all, else ours.

        `waited_s` is what the test's own processes are known to have waited (see `Delays`).
        """
        lost_s = max(self.lost_s(start_ns, stop_ns), waited_s)
        seen = f"{problem}; the machine was late for {lost_s:.3f} s of that time"
        if lost_s >= stall_s:
            raise MachineStalledError(seen)
        raise AssertionError(seen)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _records(self) -> list[tuple[int, int, int]]:
        data = self._file.read_bytes()
        whole = len(data) - len(data) % RECORD.size
        return [RECORD.unpack_from(data, at) for at in range(0, whole, RECORD.size)]

    @staticmethod
    def _known_ns(records: list[tuple[int, int, int]]) -> int:
        latest = dict.fromkeys(sorted(os.sched_getaffinity(0)), 0)
        latest |= {core: woke_ns for core, woke_ns, _ in records if core != ALL_CORES}
        return min(latest.values())


def watch(core: int, fd: int) -> None:
    """Record how late this core wakes us, for as long as the process lives."""
    os.sched_setaffinity(0, {core})  # of this thread alone
    due_ns = time.monotonic_ns()
    beat = 0
    while True:
        due_ns += round(PERIOD_S * 1e9)
        time.sleep(max(due_ns - time.monotonic_ns(), 0) / 1e9)
        late_ns = time.monotonic_ns() - due_ns
        beat += 1
        if late_ns >= LATE_NS or beat % BEATS == 0:
            late_ns = late_ns if late_ns >= LATE_NS else 0
            os.write(fd, RECORD.pack(core, raw_now_ns(), late_ns))
        due_ns += late_ns if late_ns >= LATE_NS else 0


def watch_steal(fd: int) -> None:
    """Record the time that the hypervisor took, once a second, for as long as the process lives."""
    before = _stolen()
    while True:
        time.sleep(1.0)
        stolen = _stolen()
        if stolen > before:
            os.write(fd, RECORD.pack(ALL_CORES, raw_now_ns(), (stolen - before) * JIFFY_NS))
        before = stolen


def _stolen() -> int:
    with Path("/proc/stat").open() as stat:
        return int(stat.readline().split()[STEAL_FIELD])


def main(file: str) -> None:
    """Be the witness, until killed or until the tests have ended."""
    # One write is one record, whoever writes.
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for core in os.sched_getaffinity(0):
        threading.Thread(target=watch, args=(core, fd), daemon=True).start()
    threading.Thread(target=watch_steal, args=(fd,), daemon=True).start()
    tests = os.getppid()
    while os.getppid() == tests:
        time.sleep(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
