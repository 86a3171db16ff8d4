"""This machine as a rig has it: how late it was, and whether that explains what went wrong.

The witness sees a machine that stands still. One that has too much to do wakes what sleeps in time,
and then lets it wait between slices of its work: the kernel counts that for each thread (the second
field of /proc/PID/task/TID/schedstat), and a thread here reads it ten times a second.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from edgerec.clock import raw_now_ns
from tests.rigs.figures import Figures
from tests.rigs.witness import Witness

LOOK_S = 0.1
AROUND_NS = 3_000_000_000
"""What the machine does shows in the sound, in a gap or in a state so much earlier or later."""


class Machine:
    """How late the machine was for the processes of a rig, until it is closed.

    Attributes
    ----------
    figures
        Where what is measured goes.
    """

    def __init__(self, witness: Witness, figures: Figures) -> None:
        self.figures = figures
        self._witness = witness
        self._pids: list[Callable[[], Iterable[int]]] = []
        self._feeders: list[Callable[[int, int], float]] = []
        self._looks: list[tuple[int, float]] = [(raw_now_ns(), 0.0)]
        self._before: dict[str, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch over a rig's delays")
        self._thread.start()

    def watch(self, pids: Callable[[], Iterable[int]]) -> None:
        """Look at these processes, and at all that they start, from now on."""
        self._pids.append(pids)

    def watch_feeder(self, lost_s: Callable[[int, int], float]) -> None:
        """Count how late the rig itself was between two instants: what it says by itself."""
        self._feeders.append(lost_s)

    def waited_s(self, start_ns: int, stop_ns: int) -> float:
        """Return for how long the rig was kept waiting in a span of CLOCK_MONOTONIC_RAW.

        All its processes together, as one waits for the other; or its feeders, whose thread may
        have waited for Python instead.
        """
        waited_s, began_ns = 0.0, 0
        for ended_ns, added_s in tuple(self._looks):
            if ended_ns > start_ns and began_ns < stop_ns:
                waited_s += added_s
            began_ns = ended_ns
        return max([waited_s, *(lost_s(start_ns, stop_ns) for lost_s in self._feeders)])

    def note(self, what: str, value: float, unit: str, *, limit: float, since_ns: int) -> None:
        """Take note of a figure that was measured from an instant on."""
        waited_s = self.waited_s(since_ns, raw_now_ns())
        self.figures.note(what, value, unit, limit=limit, since_ns=since_ns, waited_s=waited_s)

    def explain(self, problem: str, start_ns: int, stop_ns: int, *, stall_s: float) -> NoReturn:
        """Raise: the problem is the machine's if that was late for `stall_s` around it."""
        start_ns, stop_ns = start_ns - AROUND_NS, min(stop_ns + AROUND_NS, raw_now_ns())
        waited_s = self.waited_s(start_ns, stop_ns)
        self._witness.explain(problem, start_ns, stop_ns, stall_s=stall_s, waited_s=waited_s)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            added_ns, waits = 0, {}
            for pid in [pid for pids in tuple(self._pids) for pid in pids()]:
                for thread, waited_ns in _waits(family(pid)):
                    waits[thread] = waited_ns
                    added_ns += waited_ns - self._before.get(thread, 0)
            self._before = waits
            self._looks.append((raw_now_ns(), added_ns / 1e9))


def family(pid: int) -> list[int]:
    """Return a process, if it is there, and all its descendants."""
    found = []
    with contextlib.suppress(OSError):  # it has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += family(int(child))
        found.append(pid)
    return found


def _waits(pids: Iterable[int]) -> Iterable[tuple[str, int]]:
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                _, waited_ns, _ = (thread / "schedstat").read_text().split()
                yield thread.name, int(waited_ns)
