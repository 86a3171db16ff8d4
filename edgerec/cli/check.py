"""Is this configuration right, and if not, what is wrong with it?"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from edgerec.cli.exits import Exit
from edgerec.cli.options import add_config, add_json
from edgerec.cli.output import print_json
from edgerec.config import ConfigError, default_file, load_config

HELP = "Validate a configuration: every error at once, each with its path and a hint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Load the configuration as `edgerec run` would."""
    file: Path | None = args.config or default_file()
    try:
        load_config(file)
    except ConfigError as error:
        if not args.json:
            raise
        print_json(_report(file, error))
        return Exit.CONFIG
    if args.json:
        print_json(_report(file, None))
    elif file is None:
        print("no configuration file: the built-in defaults apply")
    else:
        print(f"{file}: ok")
    return Exit.DONE


def _report(file: Path | None, error: ConfigError | None) -> dict[str, object]:
    return {
        "file": None if file is None else str(file),
        "ok": error is None,
        "problems": [] if error is None else [dataclasses.asdict(p) for p in error.problems],
    }
