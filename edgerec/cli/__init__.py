"""Runs the chosen command, and ends with its exit status.

A command is a module of this package, named like the command, or an object in `session`, that has

- `HELP`: what `edgerec COMMAND --help` says it does,
- `add_arguments(parser)`: its own options, and those of `options` that it takes,
- `run(args) -> int`: does it and returns an `Exit`.

Only the chosen command's module is imported, so that `edgerec --help` or `edgerec check` need
neither numpy nor PortAudio.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from edgerec.cli.output import escaped, note, say
from edgerec.cli.process import Exit, open_missing
from edgerec.version import __version__

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COMMANDS: Final = {
    "run": "record, as a service in the foreground",
    "demo": "record a virtual kiosk, with no hardware, and show what was written",
    "check": "validate a configuration",
    "devices": "list the inputs that can be recorded here",
    "replay": "run the pipeline over recorded input, as fast as possible",
    "trace": "record what the devices deliver, to replay it elsewhere",
    "status": "show the state of the running service, and what is wrong",
    "start": "begin a session of the running service",
    "stop": "end the session of the running service",
    "pause": "record silence instead of what the devices hear",
    "resume": "end a pause",
    "reload": "have the running service read its configuration again",
    "rotate": "end the chunk in progress, so that it can be picked up",
    "doctor": "look for what will go wrong, and how to put it right",
    "mark": "tell the running service who has the turn",
    "meter": "live levels of both tracks in the terminal",
    "loopback": "make the loudspeaker recordable on this machine",
    "feed": "push audio into a track of the running service",
    "tap": "live audio out of the running service",
    "turns": "the turns of recorded sessions, as a table or a picture",
    "recover": "repair and publish what a crash left behind",
    "verify": "check published files against their sidecars",
}
"""Every command in the order of the help text, with the line it has there."""


_REQUESTS: Final = frozenset({"start", "stop", "pause", "resume", "rotate", "reload", "mark"})


class CliCommand(Protocol):
    """What a command has; see above."""

    @property
    def HELP(self) -> str:  # noqa: N802 - a constant of a module
        """What `edgerec COMMAND --help` says it does."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its options."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it, and return an `Exit`."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        What follows `edgerec` on the command line; by default this process's own.

    Returns
    -------
    The exit status; see `Exit`.

    Raises
    ------
    SystemExit
        After `--help` and `--version`, and with `Exit.USAGE` where the command line is wrong.
    """
    open_missing()
    # Not above: libffi, used by ctypes, keeps a file open, which would get a missing one's number.
    from edgerec.config import ConfigError

    words = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            args = _parser(words).parse_args(words)  # imports the command, which may take a while
        except SystemExit:
            sys.stdout.flush()  # of --help
            raise
        status: int = args.run(args)
        sys.stdout.flush()  # here, where a reader that has gone away can still be noticed
    except ConfigError as error:
        for line in str(error).split("\n"):
            note(line)
        return Exit.CONFIG
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        if not _stdout_reader_gone():
            raise
        _discard_stdout()
        return Exit.BROKEN_PIPE
    except OSError as error:
        if not _stdout_fails():
            raise
        _discard_stdout()
        note(f"edgerec: writing the output: {error.strerror}")
        return Exit.FAILED
    return status


class _ArgumentParser(argparse.ArgumentParser):
    """A parser that does not hide write errors of its help, as Python does from 3.12 on."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, which may have names of files in it."""
        super().error(escaped(message))


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser of every command's name, and of the chosen command's own options."""
    parser = _ArgumentParser(
        prog="edgerec",
        description="Edge recorder for voice kiosks.",
        epilog="`edgerec COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgerec {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, allow_abbrev=False)
        if name == chosen:
            chosen_command = command_named(name)
            command.description = chosen_command.HELP
            chosen_command.add_arguments(command)
            command.set_defaults(run=chosen_command.run)
    return parser


def command_named(name: str) -> CliCommand:
    """Import a command of `COMMANDS`, and nothing of the others."""
    if name in _REQUESTS:
        from edgerec.cli.requests import REQUEST_COMMANDS

        return REQUEST_COMMANDS[name]
    module: CliCommand = importlib.import_module(f"edgerec.cli.{name}")
    return module


def _stdout_reader_gone() -> bool:
    """Tell `edgerec verify | head` from a broken pipe that a command should have dealt with."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _stdout_fails() -> bool:
    """Tell by one line more whether it is the output that failed: a full disk takes no other."""
    try:
        say("", flush=True)
    except OSError:
        return True
    return False


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, or the interpreter complains of it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
