"""Validate a configuration, and check that what it names is on this machine."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edgerec.cli.options import add_config, add_json
from edgerec.cli.output import note, print_json, say
from edgerec.cli.process import Exit
from edgerec.config import (
    ConfigError,
    Problem,
    absences,
    file_to_record_by,
    load_config,
    shared_root,
)

HELP = """Validate a configuration: every error at once, each with its place and a hint. A hook's
program or a metrics folder that is not on this machine, or a storage root among other things, is a
warning, and the status 0; a Python package that is missing is an error."""

_PACKAGES: Final = ("earshot", "numpy", "sounddevice", "soundfile", "soxr")  # found, not imported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Load the configuration as `edgerec run` would."""
    try:
        file = file_to_record_by(args.config)
        config = load_config(file)
        _find_packages(file)
    except ConfigError as error:
        if not args.json:
            raise
        print_json(_report(error.file, error.problems, more=error.more))
        return Exit.CONFIG
    warnings = [*absences(config), *shared_root(config)]
    if args.json:
        print_json(_report(file, (), warnings))
        return Exit.DONE
    for warning in warnings:
        note(f"warning: {warning}")
    say(f"{file}: ok")
    return Exit.DONE


def _find_packages(file: Path) -> None:
    """Raise ConfigError where Python packages that `edgerec run` imports are not installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        told = f"edgerec can't run here without the Python packages {', '.join(missing)}"
        raise ConfigError(file, [Problem("", told, "install edgerec again: scripts/install")])


def _report(
    file: Path, problems: Sequence[Problem], warnings: Sequence[Problem] = (), *, more: int = 0
) -> dict[str, object]:
    return {
        "file": str(file),
        "ok": not problems,
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "more_problems": more,
        "warnings": [dataclasses.asdict(warning) for warning in warnings],
    }
