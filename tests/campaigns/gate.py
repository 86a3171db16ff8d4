"""The gate itself, again and again: how often it is red or repeated, and how long it takes.

`--busy` keeps every core busy with stress-ng meanwhile. `--write` adds a row for this portion to
the table in docs/testing.md, whose sums are those of all portions.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "testing.md"
END_OF_TABLE = "<!-- /gate -->"


@dataclass(frozen=True)
class Run:
    """One run of the gate."""

    is_green: bool
    seconds: float
    passed: int
    repeats: int
    undecided: int
    red: tuple[str, ...]


def run_once(log: Path) -> Run:
    """Run the gate as the README says."""
    began_s = time.monotonic()
    with log.open("w") as file:
        done = subprocess.run([CHECKOUT / "scripts" / "test"], stdout=file, stderr=file)
    said = log.read_text()
    return Run(
        done.returncode == 0,
        time.monotonic() - began_s,
        _number(r"(\d+) passed", said),
        _number(r"repeats because the machine stood still: (\d+)", said),
        _number(r"undecided, as it stood still each time: (\d+)", said),
        tuple(re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)),
    )


def _number(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--busy", action="store_true", help="with stress-ng on every core")
    parser.add_argument("--write", action="store_true", help=f"a row into {DOCUMENT.name}")
    parser.add_argument("--logs", default="build/gate", help="folder of each run's own log")


def run(args: argparse.Namespace) -> int:
    """Run the gate `--times` times; return 1 if any run was red."""
    times = args.times
    commit = _commit()
    load = os.getloadavg()[0]
    runs = []
    folder = Path(args.logs)
    folder.mkdir(parents=True, exist_ok=True)
    stress = _stress() if args.busy else None
    try:
        for number in range(1, times + 1):
            log = folder / f"{commit}-{'busy' if args.busy else 'quiet'}-{number}.log"
            runs.append(run_once(log))
            one = runs[-1]
            print(
                f"{number} of {times}: {'green' if one.is_green else 'RED'} in {one.seconds:.0f} s,"
                f" {one.passed} passed, {one.repeats} repeats, {one.undecided} undecided"
                f" {' '.join(one.red)}",
                flush=True,
            )
    finally:
        if stress is not None:
            stress.terminate()
            stress.wait()
        if runs:  # also those before an interruption
            row = _row(runs, commit, load, is_busy=args.busy)
            print(row)
            if args.write:
                text = DOCUMENT.read_text()
                DOCUMENT.write_text(text.replace(END_OF_TABLE, f"{row}\n{END_OF_TABLE}"))
    return 0 if all(one.is_green for one in runs) else 1


def _row(runs: list[Run], commit: str, load: float, *, is_busy: bool) -> str:
    seconds = sorted(one.seconds for one in runs)
    red = sum(not one.is_green for one in runs)
    return (
        f"| {datetime.now(UTC):%Y-%m-%d} | {commit} | {'busy' if is_busy else 'quiet'} | {load:.1f}"
        f" | {len(runs)} | {red} | {sum(one.repeats for one in runs)}"
        f" | {sum(one.undecided for one in runs)}"
        f" | {seconds[len(seconds) // 2]:.0f} | {seconds[-1]:.0f} |"
    )


def _stress() -> subprocess.Popen[bytes]:
    command = ["stress-ng", "--quiet", "--cpu", str(os.cpu_count())]
    return subprocess.Popen(command, stdout=sys.stderr)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(
        command, cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout.strip()
