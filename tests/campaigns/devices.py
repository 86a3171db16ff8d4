"""Devices of a sound server that go, stall or are swapped: how fast and how exactly it is recorded.

Runs the tests of real devices again and again, one at a time, with the recorder as impatient as it
comes, and fails on a figure over its limit unless the machine was late for as long. Prints the
table of docs/devices.md: medians, and the worst in brackets.
"""

import argparse
import ast
import re
import statistics
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tests import CHECKOUT
from tests.rigs.figures import PROPERTY

TESTS = ("test_source_faults_real.py", "test_pipewire_real.py", "test_record_real.py")
COLUMNS = {
    "device: fault found after": "found",
    "device: recorded again after": "again",
    "device: misplaced when it is back": "misplaced",
    "device: CPU while it is away": "CPU",
    "other track: missing": "other track",
}
UNITS = {"of a core": ""}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--number", type=int, default=5, help="how often each (default: 5)")
    parser.add_argument("--pipewire", action="store_true", help="which is not PulseAudio")
    parser.add_argument("-k", metavar="WORDS", help="only tests with such a name, as pytest has it")


def run(args: argparse.Namespace) -> int:
    chosen = "pipewire" if args.pipewire else "not pipewire"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hold-figures",
            f"--count={args.number}", f"--junitxml={report}", "-o", "junit_family=xunit1",
            "-k", f"({chosen}) and ({args.k})" if args.k else chosen,
            *(f"tests/real/{name}" for name in TESTS),
        ]  # fmt: skip
        status = subprocess.run(command, cwd=CHECKOUT, check=False).returncode
        for line in table(report.read_text()):
            print(line)
    return status


def table(report: str) -> list[str]:
    """Return what was measured as rows of Markdown, one for each test."""
    measured: dict[str, dict[str, list[tuple[float, str]]]] = {}
    for case in ET.fromstring(report).iter("testcase"):
        name = re.sub(r"\[.*", "", case.get("name", "")).removeprefix("test_").replace("_", " ")
        for one in case.iter("property"):
            if one.get("name") == PROPERTY:
                what, value, unit, _ = ast.literal_eval(one.get("value", ""))
                measured.setdefault(name, {}).setdefault(what, []).append((value, unit))
    lines = ["| what happens | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for name, figures in measured.items():
        cells = [_cell(figures.get(what, [])) for what in COLUMNS]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _cell(figures: list[tuple[float, str]]) -> str:
    if not figures:
        return ""
    values = [value for value, _ in figures]
    unit = UNITS.get(figures[0][1], figures[0][1])
    return f"{statistics.median(values):.2f} ({max(values):.2f}) {unit}".strip()
