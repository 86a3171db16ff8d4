"""Show the state of the running service."""

from __future__ import annotations

import argparse

from edgerec.cli import status_text
from edgerec.cli.options import add_config, add_json, add_socket, socket_paths
from edgerec.cli.output import note, print_json, say
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError

HELP = """Show the state of the running service, what is wrong first. Exit status: 0 all is well, 3
something is wrong (it says what, and what to do), 1 the service can't be asked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_json(parser)
    add_socket(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    try:
        with ServiceConnection(socket_paths(args)) as service:
            if args.json:
                told = service.request("status", {})
                print_json(told)
                state = told["state"]
            else:
                status = service.status()
                for line in status_text.status_lines(status):
                    say(line)
                state = status.state
    except ServiceError as error:
        note(f"edgerec status: {error}")
        return Exit.FAILED
    return Exit.DONE if state == "ok" else Exit.DEGRADED
