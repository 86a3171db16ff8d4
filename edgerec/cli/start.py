"""Begin a session."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.cli.asking import add_arguments, ask

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """Begin a session of the running service. If one is already in progress, it continues
unchanged; what was sampled before is not recorded."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    return ask(args, "start", done="recording", unchanged="is recording already")
