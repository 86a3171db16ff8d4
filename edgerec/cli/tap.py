"""Write live audio of the running service to standard output."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

from edgerec.audio import STREAMS, Block, StreamHeader
from edgerec.cli.options import add_config, add_socket, parse_seconds, socket_paths
from edgerec.cli.output import note
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError, result_of
from edgerec.wire.blocks import Decoder, WireError
from edgerec.wire.pcm import PcmOutput, PcmOutputError

HELP = """Write live audio of the running service to standard output: what the user's or the bot's
device delivers, as it delivers it, or both mixed on the recording's timeline, which comes later.
Ends with Ctrl-C or SIGTERM. What was lost before us is silence; a device that is reopened with
another rate ends it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("track", metavar="TRACK", choices=STREAMS, help="user, bot or mix")
    form = parser.add_mutually_exclusive_group()
    for name, help_text in (
        ("wav", "a WAV file (default)"),
        ("raw", "16-bit little-endian PCM, at the rate and channels that stderr shows"),
        ("stream", "a block stream, as it comes: every rate, every time, every loss"),
    ):
        form.add_argument(
            f"--{name}", dest="form", action="store_const", const=name, help=help_text
        )
    parser.set_defaults(form="wav")
    parser.add_argument(
        "--seconds", metavar="N", type=parse_seconds, help="end by itself after N seconds of audio"
    )
    add_socket(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Write what comes until it is enough."""
    out = sys.stdout.buffer
    if sys.stdout.isatty():
        note("edgerec tap: this is audio; redirect it: > FILE, or | PROGRAM")
        return Exit.USAGE
    paths = socket_paths(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same end as Ctrl-C
    output = PcmOutput(out, args.form, seekable=_is_new_file(out))
    try:
        with ServiceConnection(paths) as service:
            service.request("tap", {"track": args.track})
            _write(service, output, args.seconds, out)
    except KeyboardInterrupt:
        pass  # it is how one ends it
    except (ServiceError, PcmOutputError) as error:
        output.finish()
        note(f"edgerec tap: {error}")
        return Exit.FAILED
    output.finish()
    return Exit.DONE


def _write(
    service: ServiceConnection, output: PcmOutput, seconds: float | None, out: BinaryIO
) -> None:
    for message in _messages(service):
        output.write(message)
        out.flush()  # the reader listens live
        if isinstance(message, StreamHeader):
            told = f"{message.device}: {message.sample_rate} Hz, {message.channels} channels"
            note(told)
        if seconds is not None and output.seconds >= seconds:
            return


def _messages(service: ServiceConnection) -> Iterator[StreamHeader | Block]:
    """Yield the stream; it ends with the reason that the service gives."""
    decoder = Decoder()
    while data := service.receive():
        try:
            yield from decoder.feed(data)
        except WireError as error:
            if decoder.rest.startswith(b'{"id"'):
                result_of(decoder.rest)
            raise ServiceError(str(error)) from error
    raise ServiceError("the service closed the connection")


def _is_new_file(out: BinaryIO) -> bool:
    appending = fcntl.fcntl(out.fileno(), fcntl.F_GETFL) & os.O_APPEND
    return out.seekable() and not appending and out.tell() == 0
