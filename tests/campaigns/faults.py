"""Random faults into a recording kiosk, one every few seconds: what each costs, and what it says.

An independent reader checks after each that recording went on, that what is lost is declared, that
the status said so and is as before, and that all else is published. Needs root for disks of their
own and for permissions; what can't be tried without is left out.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from edgerec.capture.child import ChildLimits
from tests.rigs.cut_recording import why_no_mounts
from tests.rigs.faults.driver import FAULTS, Outcome, pairs, possible, stage
from tests.rigs.faults.kiosk import can_step_down
from tests.rigs.faults.table import Fault
from tests.rigs.witness import Witness

PATIENCE_S = 90.0  # until the status is as before; longer is a problem
DOUBLE_SHARE = 0.2  # of all: two faults at once
TORN_S = ChildLimits().stall_ns / 1e9  # a device that is late for as long leaves a gap


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=600, help="how long (default: 600)")
    parser.add_argument("--seed", type=int, default=1, help="of faults and moments (default: 1)")
    parser.add_argument("-k", metavar="WORDS", default="", help="only faults with such a name")


def run(args: argparse.Namespace) -> int:
    rng = random.Random(args.seed)
    until_s = time.monotonic() + args.seconds
    disk, user = why_no_mounts() is None, can_step_down()
    there = [fault for fault in possible(disk=disk, user=user) if args.k in fault.name]
    print(f"{len(there)} of {len(FAULTS)} kinds of faults can be tried here", flush=True)
    outcomes: list[Outcome] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        witness = Witness(Path(folder) / "witness")
        try:
            while time.monotonic() < until_s:
                problems += _one_kiosk(rng, witness, there, until_s, outcomes)
        finally:
            witness.close()
    _tell(outcomes, problems)
    return 1 if problems or any(map(_problems_of, outcomes)) else 0


def _one_kiosk(rng, witness, there, until_s, outcomes) -> list[str]:
    """Bring faults to one kiosk until the time is over, or it is not what it should be."""
    with stage(rng, witness, PATIENCE_S) as driver:
        order: list[Fault] = []
        double = pairs(there)
        while time.monotonic() < until_s:
            order = order or rng.sample(there, k=len(there))  # each kind once before any twice
            two = double and rng.random() < DOUBLE_SHARE
            outcome = driver.meet(rng.choice(double) if two else order.pop())
            outcomes.append(outcome)
            print(_line(outcome), flush=True)
            for problem in _problems_of(outcome):
                print(f"    {problem}", flush=True)
            if outcome.ok_s is None:
                print(driver.site.kiosk.news(), file=sys.stderr, flush=True)
                return []
        problems = driver.finish()
        print(*(f"at the end: {problem}" for problem in problems), sep="\n", flush=True)
        return problems


def _problems_of(outcome: Outcome) -> list[str]:
    """Return what is wrong, and which limit was exceeded without the machine being late for it."""
    fault, problems = outcome.fault, list(outcome.problems)
    if outcome.late_s < TORN_S:
        problems += outcome.torn
    for what, took_s, limit_s in (
        ("was told", outcome.told_s, fault.told_s),
        ("was as before", outcome.ok_s, fault.ok_s),
    ):
        if took_s is not None and took_s > limit_s + outcome.late_s:
            problems.append(f"it {what} after {took_s:.1f} s, {limit_s:.0f} s are allowed")
    return problems + [f"the machine was late for {outcome.late_s:.2f} s"] * bool(problems)


def _kind_of(outcome: Outcome) -> str:
    """Return the fault's name; two at once are one kind."""
    return "two at once" if ", and " in outcome.fault.name else outcome.fault.name


def _line(outcome: Outcome) -> str:
    lost = ", ".join(f"{frames} {reason}" for reason, frames in sorted(outcome.lost.items()))
    told = "-" if outcome.told_s is None else f"{outcome.told_s:.1f} s"
    ok = "never" if outcome.ok_s is None else f"{outcome.ok_s:.1f} s"
    said = " ".join(sorted(outcome.said)) or "-"
    return (
        f"{outcome.fault.name}: told {told} ({said}), ok {ok}, "
        f"interruption {outcome.interruption_s:.2f} s, lost {lost or '-'}"
    )


def _tell(outcomes: list[Outcome], problems: list[str]) -> None:
    """Print the table of kinds, and the sums."""
    print("| fault | times | told, at worst | as before, at worst | longest interruption | lost |")
    print("|---|---|---|---|---|---|")
    for name in sorted({_kind_of(outcome) for outcome in outcomes}):
        same = [outcome for outcome in outcomes if _kind_of(outcome) == name]
        told = [o.told_s for o in same if o.told_s is not None]
        ok = [o.ok_s for o in same if o.ok_s is not None]
        lost = sum(sum(o.lost.values()) for o in same)
        print(
            f"| {name} | {len(same)} | {f'{max(told):.1f} s' if told else '-'} | "
            f"{f'{max(ok):.1f} s' if ok else 'never'} | "
            f"{max(o.interruption_s for o in same):.2f} s | {lost} |"
        )
    wrong = sum(bool(_problems_of(outcome)) for outcome in outcomes)
    missed = sum("the status" in " ".join(o.problems) for o in outcomes)
    longest = max((o.interruption_s for o in outcomes), default=0.0)
    lost = sum(sum(o.lost.values()) for o in outcomes)
    print(
        f"{len(outcomes)} faults of {len({_kind_of(o) for o in outcomes})} kinds: longest "
        f"interruption {longest:.2f} s, {lost} frames lost and declared, the status missed "
        f"{missed}, {wrong} faults and {len(problems)} endings with problems"
    )
