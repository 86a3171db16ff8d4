"""One fault after the other into a recording kiosk, and what must be true after each.

Recording went on; what is lost is declared, and for a reason that this fault may have; the status
said so while it lasted and is as before afterwards; all else is published. How long it took is a
figure, held by whoever asks for that.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from edgerec.clock import monotonic_now_ns, raw_now_ns
from tests.rigs.cut_recording import why_no_mounts
from tests.rigs.faults import on_disk, on_files, on_programs
from tests.rigs.faults.kiosk import CHUNK_S, SEED, Kiosk, can_step_down, codes_of, hold
from tests.rigs.faults.reader import Reader
from tests.rigs.faults.table import GAPS, Fault, Site, both
from tests.rigs.machine import Machine
from tests.rigs.waiting import wait_for

S = 1_000_000_000
FAULTS = (*on_files.FAULTS, *on_disk.FAULTS, *on_programs.FAULTS)
BEGINNING = frozenset({"absent"})  # a session that begins before its device has
AROUND_NS = 3 * S  # what is lost shows in a chunk that began so much earlier
LOOK_S = 0.1


class WentWrongError(Exception):
    """A fault cost more than it may; the kiosk is not what it should be any more."""


@dataclass
class Outcome:
    """What one fault has cost, and what was wrong with that."""

    fault: Fault
    told_s: float | None = None
    ok_s: float | None = None
    lost: dict[str, int] = field(default_factory=dict)
    interruption_s: float = 0.0
    said: set[str] = field(default_factory=set)
    lost_told: bool = False
    late_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    """Gaps that a fault may not make, and a machine that is late for as long does."""


def possible(*, disk: bool, user: bool) -> list[Fault]:
    """Return the faults that can be brought about here."""
    there = {name for name, has in (("disk", disk), ("user", user)) if has}
    return [fault for fault in FAULTS if fault.needs <= there]


def pairs(there: list[Fault]) -> list[Fault]:
    """Return faults of programs while the disk fails: each of one with each of the other."""
    disk = [one for one in there if one in on_disk.FAULTS and one.told and not one.restarts]
    programs = [one for one in there if one in on_programs.FAULTS]
    quiet = [one for one in programs if not one.restarts and not one.told]
    return [both(first, second) for first in disk for second in quiet]


@contextmanager
def stage(rng: random.Random, witness, patience_s: float):
    """Yield a driver with a kiosk that records, on a disk of its own if this is root."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        disk = None if why_no_mounts() else on_disk.Disk(folder)
        place = disk.place if disk else folder / "place"
        place.mkdir(exist_ok=True)
        machine = Machine(witness, None)
        kiosk = None
        try:
            kiosk = Kiosk(folder, place, as_nobody=can_step_down())
            driver = Driver(Site(kiosk, rng, disk), machine, witness, patience_s)
            driver.begin()
            yield driver
        finally:
            machine.close()
            if disk:
                disk.close()
            if kiosk:
                kiosk.close()


class Driver:
    """Brings faults about and looks at what becomes of them.

    Parameters
    ----------
    patience_s
        How long a state is waited for before it is a problem.
    """

    def __init__(self, site: Site, machine: Machine, witness, patience_s: float) -> None:
        self.site = site
        self._kiosk = site.kiosk
        self._machine = machine
        self._witness = witness
        self._patience_s = patience_s
        ahead_ns = raw_now_ns() - monotonic_now_ns()
        self.reader = Reader(self._kiosk.archive, self._kiosk.starts, ahead_ns, SEED)
        self._usual: set[str] = set()
        self._problems: list[str] = []
        self._known: set[str] = set()

    def begin(self) -> None:
        """Start the kiosk, and see what its status says where nothing is wrong."""
        self._kiosk.start()
        self._machine.watch(lambda: [self._kiosk.process.pid])
        self._wait(lambda: self._records(0), "it does not begin to record")
        self._recorded_since(monotonic_now_ns())
        self._usual = codes_of(self._kiosk.status())

    def meet(self, fault: Fault) -> Outcome:
        """Bring one fault about, heal it, and look."""
        outcome = Outcome(fault)
        began_ns, raw_ns = monotonic_now_ns(), raw_now_ns()
        try:
            self._suffer(fault, outcome)
            self._recover(fault, outcome)
        except WentWrongError as error:
            outcome.problems.append(str(error))
        ended_ns = monotonic_now_ns()
        self._account(fault, outcome, began_ns, ended_ns)
        outcome.late_s = self._late_s(raw_ns)
        return outcome

    def finish(self) -> list[str]:
        """Stop the kiosk in good order; return what is wrong with all that it has recorded."""
        status = self._kiosk.end()
        problems = [] if status == 0 else [f"it ended with {status}: {self._kiosk.news()}"]
        self._kiosk.fetch()
        problems += self.reader.read() + self.reader.tiling(all_closed=True)
        left = [path.name for path in (self._kiosk.root / ".work").iterdir()]
        return problems + [f"{name} is left in .work" for name in left]

    def _suffer(self, fault: Fault, outcome: Outcome) -> None:
        began_ns = monotonic_now_ns()
        try:
            fault.inject(self.site)
            injected_ns = monotonic_now_ns()
            if fault.told:
                told_ns = self._wait(
                    lambda: self._told(fault, began_ns), f"the status never said {set(fault.told)}"
                )
                outcome.told_s = max(told_ns - injected_ns, 0) / S
            hold(self.site.rng.uniform(*fault.hold_s))
        finally:
            fault.heal(self.site)
        looks = self._kiosk.looks_since(began_ns)
        outcome.said = set().union(*(codes_of(status) for _, status in looks)) - self._usual

    def _recover(self, fault: Fault, outcome: Outcome) -> None:
        healed_ns = monotonic_now_ns()
        ok_ns = self._wait(
            lambda: self._records(healed_ns), "the status is not as before, or it does not record"
        )
        outcome.ok_s = (ok_ns - healed_ns) / S
        self._recorded_since(ok_ns)

    def _recorded_since(self, since_ns: int) -> None:
        """Wait until what was captured after an instant is published, the bot's tone in it."""
        self._wait(self._kiosk.play_tone, "the feed does not take a tone")
        pushed_ns = monotonic_now_ns()

        def is_published() -> bool:
            self._kiosk.fetch()
            self._problems += self.reader.read()
            return any(c.start_ns > since_ns and c.stop_ns > pushed_ns for c in self.reader.chunks)

        def is_heard() -> bool:
            is_published()
            recent = [c for c in self.reader.chunks if c.stop_ns > since_ns]
            return any(chunk.has_tone() for chunk in recent)

        self._wait(is_published, "nothing that it has captured since is published")
        self._wait(is_heard, "what was fed since is not in the bot's track")

    def _account(self, fault: Fault, outcome: Outcome, began_ns: int, ended_ns: int) -> None:
        since_ns = began_ns - AROUND_NS
        outcome.lost = self.reader.lost_between(began_ns, ended_ns)
        outcome.interruption_s = self.reader.interruption_s(since_ns, ended_ns)
        looks = self._kiosk.looks_since(began_ns)
        outcome.lost_told = any(status and status["state"] == "failed" for _, status in looks)
        missing_s = outcome.lost.get("missing", 0) / 16_000
        for reason, frames in outcome.lost.items():
            if reason in fault.may_lose | (BEGINNING if fault.restarts else frozenset()):
                continue
            told = outcome.torn if reason in GAPS else outcome.problems
            told.append(f"{frames} frames of the user are lost: {reason}")
        if outcome.lost.get("missing") and not outcome.lost_told:
            outcome.problems.append("audio was lost and the status never was `failed`")
        if not fault.restarts and outcome.interruption_s > missing_s + CHUNK_S / 10:
            outcome.problems.append(f"{outcome.interruption_s:.2f} s that nothing declares")
        problems, self._problems = self._problems, []
        tiling = [one for one in self.reader.tiling() if one not in self._known]
        self._known.update(tiling)
        outcome.problems += problems + tiling

    def _told(self, fault: Fault, since_ns: int) -> int | None:
        for at_ns, status in self._kiosk.looks_since(since_ns):
            if status and codes_of(status) & fault.told:
                return at_ns
        return None

    def _records(self, since_ns: int) -> int | None:
        """Return when the status first was as before, for good."""
        first_ns = None
        for at_ns, status in self._kiosk.looks_since(since_ns):
            well = status and status["recording"] and codes_of(status) <= self._usual
            first_ns = (first_ns or at_ns) if well and self._delivers(status) else None
        return first_ns

    @staticmethod
    def _delivers(status) -> bool:
        return status["tracks"]["user"]["state"] == "running" and status["activity"] == "recording"

    def _wait(self, is_so: Callable, problem: str):
        def look():
            if self._kiosk.process.poll() is not None:
                raise WentWrongError(f"it ended with {self._kiosk.process.returncode}")
            return is_so()

        try:
            return wait_for(look, within_s=self._patience_s, look_s=LOOK_S)
        except AssertionError:
            status = self._kiosk.status() or {}
            why = [reason["why"] for reason in status.get("reasons", ())]
            raise WentWrongError(f"{problem}; {why or 'no reasons'}") from None

    def _late_s(self, since_ns: int) -> float:
        now_ns = raw_now_ns()
        return max(self._witness.lost_s(since_ns, now_ns), self._machine.waited_s(since_ns, now_ns))
