"""Fuzzers of all that a start reads: journals, `.state`, sidecars and mount tables from a grammar.

Their checksums are right, so that a reader gets to what they say. Prints a row per kind: inputs,
exceptions that nobody documents, starts that took longer than 5 s, and how many lines of the
readers were reached.
"""

import argparse
import logging
import random
import tempfile
import time
import traceback
from pathlib import Path

from edgerec.store import mount
from edgerec.store.records import sidecar_reader
from edgerec.store.retention import inventory
from edgerec.store.writing import closing, journal, recover, session_summary
from edgerec.validation import bounded_json, typed
from tests.rigs.fuzz.kinds import KINDS
from tests.rigs.fuzz.reached import Reached
from tests.rigs.witness import Witness

READERS = (
    bounded_json,
    closing,
    inventory,
    journal,
    mount,
    recover,
    session_summary,
    sidecar_reader,
    typed,
)
LONG_S = 5.0
TRACED = 300  # inputs of a kind whose lines are counted: that takes several times as long


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--number", type=int, default=2000, help="inputs a kind (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (default: 1)")


def run(args: argparse.Namespace) -> int:
    logging.disable()  # a warning for each input
    reached = Reached(*READERS)
    wrong = 0
    print("| kind | inputs | exceptions | starts over 5 s | longest |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        witness = Witness(Path(folder) / "witness")
        try:
            for kind in KINDS:
                wrong += _row(kind, args, reached, witness)
        finally:
            witness.close()
    print(f"lines of the readers reached: {reached.share():.0%}, by {TRACED} inputs a kind")
    for file, lines in reached.missed().items():
        print(f"  {Path(file).name}: not {', '.join(map(str, lines)) or 'one'}")
    return 1 if wrong else 0


def _row(kind: str, args: argparse.Namespace, reached: Reached, witness: Witness) -> int:
    failed, slow, longest_s = 0, 0, 0.0
    for number in range(args.number):
        began_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        try:
            if number < TRACED:
                with reached.watching():
                    fuzz(kind, args.seed, number)
            else:
                fuzz(kind, args.seed, number)
        except Exception:
            failed += 1
            print(f"{kind}, seed {args.seed}, number {number}:", traceback.format_exc(), sep="\n")
        ended_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        took_s = (ended_ns - began_ns) / 1e9
        longest_s = max(longest_s, took_s)
        slow += took_s > LONG_S and took_s - witness.lost_s(began_ns, ended_ns) > LONG_S
    print(f"| {kind} | {args.number} | {failed} | {slow} | {longest_s:.2f} s |", flush=True)
    return failed + slow


def fuzz(kind: str, seed: int, number: int) -> None:
    """Make one input and have it read; a folder in memory will do."""
    rng = random.Random(f"{seed} {kind} {number}")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        KINDS[kind](rng, Path(folder))
