"""End the session."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.cli.asking import add_arguments, ask

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """End the session of the running service, which keeps running without one: its files
are published, and nothing is recorded until `edgerec start`."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    return ask(args, "stop", done="stopped", unchanged="nothing is being recorded")
