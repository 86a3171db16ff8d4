"""Guards picked at random and deleted, one at a time, and which test misses each.

A guard is an `if` without `else` that does nothing but leave: raise, return, continue or break. It
is deleted in a copy of the checkout, and the gating tests are run until the first is red: those of
its module first, then of its room, then all others. A guard that no test misses is a finding: it
goes, or gets its test.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import CHECKOUT

LEAVES = (ast.Raise, ast.Return, ast.Continue, ast.Break)
LIMIT_S = 1800.0  # of one run of the tests: one that a mutation has stand still is red
NUMBER = 40


@dataclass(frozen=True, order=True)
class Guard:
    """Lines of a module, first and last, that are one guard."""

    module: str
    first: int
    last: int
    text: str

    @property
    def room(self) -> str:
        return Path(self.module).parts[1]


def guards_in(module: Path) -> Iterator[Guard]:
    """Yield every guard of a module."""
    source = module.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and _only_leaves(node) and not _is_elif(node, source):
            name = str(module.relative_to(CHECKOUT))
            yield Guard(name, node.lineno, node.end_lineno or 0, ast.unparse(node.test))


def _only_leaves(node: ast.If) -> bool:
    return not node.orelse and len(node.body) == 1 and isinstance(node.body[0], LEAVES)


def _is_elif(node: ast.If, source: str) -> bool:
    return source.splitlines()[node.lineno - 1].lstrip().startswith("elif")


def pick(number: int, seed: str) -> list[Guard]:
    """Return `number` guards at random, one room after the other while they have any left."""
    choice = random.Random(seed)
    rooms: dict[str, list[Guard]] = {}
    for module in sorted((CHECKOUT / "edgerec").rglob("*.py")):
        for guard in guards_in(module):
            rooms.setdefault(guard.room, []).append(guard)
    for guards in rooms.values():
        choice.shuffle(guards)
    picked: list[Guard] = []
    while len(picked) < number and any(rooms.values()):
        for room in sorted(rooms):
            if rooms[room] and len(picked) < number:
                picked.append(rooms[room].pop())
    return picked


def delete(guard: Guard, checkout: Path) -> None:
    """Replace a guard by nothing."""
    path = checkout / guard.module
    lines = path.read_text().splitlines(keepends=True)
    indent = lines[guard.first - 1][: -len(lines[guard.first - 1].lstrip())]
    lines[guard.first - 1 : guard.last] = [f"{indent}pass\n"]
    path.write_text("".join(lines))


def missed_by(guard: Guard, checkout: Path, workers: int, *, real: bool) -> str | None:
    """Return the first test that is red without the guard, alone, too; None: there is none."""
    room = checkout / "tests" / guard.room
    own = [str(path) for path in (checkout / "tests").rglob(f"test_{Path(guard.module).stem}*.py")]
    selections = [own] if own else []
    selections += [["-m", "not real", str(room)]] if room.is_dir() else []
    selections += [["-m", "not real", "tests"]] + ([["-m", "real", "tests"]] if real else [])
    for selection in selections:
        red = first_red(checkout, *selection, "-n", str(workers), "--dist", "loadgroup")
        if red is not None and first_red(checkout, red) is not None:
            return red
    return None


def first_red(checkout: Path, *selection: str) -> str | None:
    """Run tests until one is red; return it."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    done = subprocess.run(
        ["timeout", str(LIMIT_S), *command, *selection],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    red = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return red[1] if red else f"(status {done.returncode})"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--number", type=int, help=f"how many guards (default: {NUMBER})")
    parser.add_argument("--seed", default="campaign", help="of the choice")
    parser.add_argument("--jobs", type=int, default=4, help="workers of the tests")
    parser.add_argument("--real", action="store_true", help="run the tests of real parts, too")


def run(args: argparse.Namespace) -> int:
    """Delete guards, say which test misses each, and return 1 if any is missed by none."""
    unmissed = []
    picked = pick(args.number or NUMBER, args.seed)
    for number, guard in enumerate(picked, 1):
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            checkout = Path(folder) / "checkout"
            shutil.copytree(
                CHECKOUT, checkout, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git")
            )
            (checkout / ".venv").symlink_to(CHECKOUT / ".venv")
            delete(guard, checkout)
            red = missed_by(guard, checkout, args.jobs, real=args.real)
        if red is None:
            unmissed.append(guard)
        print(
            f"{number} of {len(picked)}, {time.monotonic() - began_s:.0f} s: {guard.module}:"
            f"{guard.first} if {guard.text}: {red or 'NO TEST MISSES IT'}",
            flush=True,
        )
    print(f"{len(picked) - len(unmissed)} of {len(picked)} guards are missed by a test")
    return 1 if unmissed else 0
