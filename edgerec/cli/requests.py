"""Commands that are one request to the running service, and what they print of its answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgerec.audio import TRACKS
from edgerec.cli.options import add_config, add_json, add_socket, socket_paths
from edgerec.cli.output import note, print_json, say
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError


@dataclass(frozen=True, slots=True)
class RequestCommand:
    """A command that asks the service for one thing; see `edgerec.cli`."""

    name: str
    HELP: str
    """What `edgerec NAME --help` says it does."""
    told: Callable[[Mapping[str, Any]], list[str]]
    """Returns the lines to print of a result."""
    declare: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    """Declares the options of this command alone."""
    fields: Callable[[argparse.Namespace], Mapping[str, object]] = lambda args: {}
    """Returns the arguments of the request."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""
        self.declare(parser)
        add_json(parser)
        add_socket(parser)
        add_config(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Ask the service, and print its answer for programs or for people."""
        try:
            with ServiceConnection(socket_paths(args)) as service:
                result = service.request(self.name, self.fields(args))
        except ServiceError as error:
            if args.json:
                print_json({"error": error.told or {"code": "unreachable", "message": str(error)}})
            note(f"edgerec {self.name}: {error}")
            return Exit.CONFIG if error.told.get("code") == "bad_config" else Exit.FAILED
        if args.json:
            print_json(result)
        else:
            for line in self.told(result):
                say(line)
        return Exit.DONE


def _either(done: str, unchanged: str) -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what to print when the service carries it out, and when it was so already."""
    return lambda result: [done if result["changed"] else unchanged]


def _reloaded(result: Mapping[str, Any]) -> list[str]:
    if not result["changed"]:
        return ["nothing has changed"]
    lines = [f"changed: {', '.join(result['changed'])}"]
    if result["reopened"]:
        lines.append(f"reopened: {', '.join(result['reopened'])}")
    if result["new_session"]:
        lines.append("a session that was being recorded has ended, and another begins")
    return lines


def _declare_mark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("track", metavar="TRACK", choices=TRACKS, help="user or bot")
    parser.add_argument("state", metavar="STATE", choices=("start", "stop"), help="start or stop")
    parser.add_argument(
        "--at-ns",
        metavar="N",
        type=_nanoseconds,
        default=0,
        help="as of when, in nanoseconds of CLOCK_MONOTONIC (default: now)",
    )


def _nanoseconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r}: give nanoseconds, such as 81234000000000")
    return int(text)


REQUEST_COMMANDS: Final = {
    command.name: command
    for command in (
        RequestCommand(
            "start",
            """Begin a session of the running service. If one is already in progress, it continues
unchanged; what was sampled before is not recorded.""",
            _either("recording", "is recording already"),
        ),
        RequestCommand(
            "stop",
            """End the session of the running service, which keeps running without one: its files
are published, and nothing is recorded until `edgerec start`.""",
            _either("stopped", "nothing is being recorded"),
        ),
        RequestCommand(
            "pause",
            """Pause the recording: until `edgerec resume`, both tracks are silence in the files,
and nothing of what the devices hear is kept. The chunk in progress ends.""",
            _either("paused", "is paused already"),
        ),
        RequestCommand(
            "resume",
            """End a pause: what is sampled from now on is recorded again.""",
            _either("recording", "is not paused"),
        ),
        RequestCommand(
            "rotate",
            """End the chunk in progress here, so that it can be picked up; the next one begins on
the next frame.""",
            lambda result: ["the chunk has ended"],
        ),
        RequestCommand(
            "reload",
            """Have the running service read its configuration again. All of it applies, or, where
anything in it is wrong or can't change while the service runs, none; then every error is shown.""",
            _reloaded,
        ),
        RequestCommand(
            "mark",
            """Mark where a turn of the user or the bot begins or ends, for an application that
knows. From a speaker's first mark on, only marks make turns of that speaker in this session.""",
            lambda result: [f"marked frame {result['frame']}"],
            _declare_mark,
            lambda args: {"track": args.track, "state": args.state, "at_ns": args.at_ns},
        ),
    )
}
"""Every such command by its name."""
