"""Mark the beginning or end of a turn in the running service."""

from __future__ import annotations

import argparse
from typing import Final

from edgerec.audio import TRACKS
from edgerec.cli import asking
from edgerec.cli.options import socket_paths
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError

HELP: Final = """Mark where a turn of the user or the bot begins or ends, for an application that
knows. From a speaker's first mark on, only marks make turns of that speaker in this session."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("track", metavar="TRACK", choices=TRACKS, help="user or bot")
    parser.add_argument("state", metavar="STATE", choices=("start", "stop"), help="start or stop")
    parser.add_argument(
        "--at-ns",
        metavar="N",
        type=_nanoseconds,
        default=0,
        help="as of when, in nanoseconds of CLOCK_MONOTONIC (default: now)",
    )
    asking.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    request = {"track": args.track, "state": args.state, "at_ns": args.at_ns}
    try:
        with ServiceConnection(socket_paths(args)) as service:
            result = service.request("mark", request)
    except ServiceError as error:
        return asking.fail(args, "mark", error)
    asking.tell(args, result, f"marked frame {result['frame']}")
    return Exit.DONE


def _nanoseconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r}: give nanoseconds, such as 81234000000000")
    return int(text)
