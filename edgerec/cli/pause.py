"""Record silence for a while."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.cli.asking import add_arguments, ask

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """Pause the recording: until `edgerec resume`, both tracks are silence in the files,
and nothing of what the devices hear is kept. The chunk in progress ends."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    return ask(args, "pause", done="paused", unchanged="is paused already")
