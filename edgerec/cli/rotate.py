"""End the chunk in progress."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.cli.asking import add_arguments, ask

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """End the chunk in progress here, so that it can be picked up; the next one begins on
the next frame."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    return ask(args, "rotate", done="the chunk has ended", unchanged="the chunk has ended")
