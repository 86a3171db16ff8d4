"""Push audio from a file or a pipe into a track of the running service."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from edgerec.audio import TRACKS
from edgerec.cli.options import add_config, add_socket, socket_paths
from edgerec.cli.output import note, os_failure
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError
from edgerec.wire.blocks import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
from edgerec.wire.pcm import PcmInputError, block_stream
from edgerec.wire.wav import PcmFormat

HELP = """Push audio into a track with `source: feed` of the running service, as fast as it takes
it: it is queued and played, and recorded as it plays. FILE is WAV, a block stream, or raw PCM of
16-bit little-endian samples (with --rate); - reads from a pipe."""

DEFAULT_CHANNELS: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("track", metavar="TRACK", choices=TRACKS, help="user or bot")
    parser.add_argument("file", metavar="FILE", help="what to push; - for standard input")
    parser.add_argument(
        "--rate",
        metavar="HZ",
        type=_between(MIN_RATE_HZ, MAX_RATE_HZ),
        help="FILE is raw PCM at this rate",
    )
    parser.add_argument(
        "--channels",
        metavar="N",
        type=_between(1, MAX_CHANNELS),
        help=f"channels of raw PCM (default: {DEFAULT_CHANNELS})",
    )
    add_socket(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Push all of it, and wait for the service's answer."""
    if args.channels is not None and args.rate is None:
        note("edgerec feed: --channels is for raw PCM, which needs --rate too")
        return Exit.USAGE
    raw = PcmFormat(args.rate, args.channels or DEFAULT_CHANNELS) if args.rate else None
    paths = socket_paths(args)
    try:
        with _opened(args.file) as file, ServiceConnection(paths) as service:
            service.request("feed", {"track": args.track})
            for data in block_stream(file, args.track, Path(args.file).name, raw):
                service.send(data)
            service.finish()
            # The service reads on when there is room in its queue, which may take a while.
            service.answer(patience_s=None)
    except (ServiceError, PcmInputError) as error:
        note(f"edgerec feed: {error}")
        return Exit.FAILED
    except OSError as error:
        note(f"edgerec feed: {os_failure('reading', error)}")
        return Exit.FAILED
    return Exit.DONE


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: give {low} to {high}")
        return int(text)

    return number


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as file:
            yield file
