"""End a pause."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.cli.asking import add_arguments, ask

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """End a pause: what is sampled from now on is recorded again."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    return ask(args, "resume", done="recording", unchanged="is not paused")
