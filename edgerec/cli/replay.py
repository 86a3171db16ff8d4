"""Run the pipeline over recorded input: a field problem at a desk, or old recordings."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from edgerec.audio import TrackName
from edgerec.cli.logs import log_to_stderr
from edgerec.cli.options import add_config, add_json
from edgerec.cli.output import (
    ProgressLine,
    note,
    os_failure,
    print_json,
    print_published,
    published_as_json,
)
from edgerec.cli.process import Exit, Interruption
from edgerec.config import load_config
from edgerec.engine.replay import replay
from edgerec.engine.replay_input import ReplayError
from edgerec.store.disk import StoreError
from edgerec.store.publish import FilePublished
from edgerec.wire.trace import TraceError

HELP = """Run the pipeline over recorded input, as fast as possible. FILE is a trace (see `edgerec
trace`) or a WAV file; a track that is not given is silence. Ctrl-C publishes what was replayed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--user", metavar="FILE", type=Path, help="input of the user track")
    parser.add_argument("--bot", metavar="FILE", type=Path, help="input of the bot track")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="storage root to record into, instead of the configured one; made if it is missing",
    )
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Replay, and list what was written."""
    log_to_stderr()
    config = load_config(args.config, records=False)
    config = replace(config, storage=replace(config.storage, root=args.out.absolute()))
    named: dict[TrackName, Path | None] = {"user": args.user, "bot": args.bot}
    inputs = {name: path for name, path in named.items() if path is not None}
    if not inputs:
        note("edgerec replay: give --user FILE, --bot FILE, or both")
        return Exit.USAGE
    published: list[FilePublished] = []
    failure: str | None = None
    signals: list[int] = []  # not an Event, which a second signal would lock up
    Interruption().stops(signals.append)
    with ProgressLine("replayed") as progress:
        try:
            replay(
                config,
                inputs,
                on_published=published.append,
                on_progress=progress.seconds,
                stopped=lambda: bool(signals),
            )
        except (ReplayError, TraceError, StoreError) as error:
            failure = str(error)
        except OSError as error:
            failure = os_failure("reading", error)
    if args.json:
        print_json(
            {
                "files": published_as_json(published),
                "error": failure,
            }
        )
    else:
        print_published(published, config.storage.root)
    if failure is not None:
        note(f"edgerec replay: {failure}")
        return Exit.INTERRUPTED if signals else Exit.FAILED
    return Exit.DONE
