"""Commands that ask the running service to begin, end, pause or cut a session."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

from edgerec.cli.asking import add_arguments, ask


@dataclass(frozen=True, slots=True)
class SessionCommand:
    """A command that takes no arguments of its own; see `edgerec.cli`."""

    name: str
    HELP: str
    """What `edgerec NAME --help` says it does."""
    done: str
    """Printed when the service has begun to do it."""
    unchanged: str
    """Printed when it was so already."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""
        add_arguments(parser)

    def run(self, args: argparse.Namespace) -> int:
        """Ask the service."""
        return ask(args, self.name, done=self.done, unchanged=self.unchanged)


SESSION_COMMANDS: Final = {
    command.name: command
    for command in (
        SessionCommand(
            "start",
            """Begin a session of the running service. If one is already in progress, it continues
unchanged; what was sampled before is not recorded.""",
            done="recording",
            unchanged="is recording already",
        ),
        SessionCommand(
            "stop",
            """End the session of the running service, which keeps running without one: its files
are published, and nothing is recorded until `edgerec start`.""",
            done="stopped",
            unchanged="nothing is being recorded",
        ),
        SessionCommand(
            "pause",
            """Pause the recording: until `edgerec resume`, both tracks are silence in the files,
and nothing of what the devices hear is kept. The chunk in progress ends.""",
            done="paused",
            unchanged="is paused already",
        ),
        SessionCommand(
            "resume",
            """End a pause: what is sampled from now on is recorded again.""",
            done="recording",
            unchanged="is not paused",
        ),
        SessionCommand(
            "rotate",
            """End the chunk in progress here, so that it can be picked up; the next one begins on
the next frame.""",
            done="the chunk has ended",
            unchanged="the chunk has ended",
        ),
    )
}
"""Every such command by its name."""
