"""Properties tried with examples that nobody has chosen: new ones in each run, many times.

The gate tries the same examples each time.
"""

import argparse
import subprocess
import sys

from tests import CHECKOUT


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--number", type=int, default=20, help="how often each (default: 20)")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default: 2)")
    parser.add_argument("-k", metavar="WORDS", default="", help="only tests with such a name")


def run(args: argparse.Namespace) -> int:
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "hypothesis",
        "--hypothesis-profile=search", f"--count={args.number}", "-n", str(args.jobs),
        "-k", args.k,
    ]  # fmt: skip
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode
