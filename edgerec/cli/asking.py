"""Sends a command's request to the running service, and prints the result."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from edgerec.cli.options import add_config, add_json, add_socket, socket_paths
from edgerec.cli.output import print_json
from edgerec.cli.process import Exit
from edgerec.cli.terminal import note, say
from edgerec.service.control.client import ServiceConnection, ServiceError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a command that asks the service."""
    add_json(parser)
    add_socket(parser)
    add_config(parser)


def ask(args: argparse.Namespace, command: str, *, done: str, unchanged: str) -> int:
    """Send a request that takes no arguments.

    Parameters
    ----------
    done, unchanged
        Text to print when the service carries it out, and when nothing had to change.
    """
    try:
        with ServiceConnection(socket_paths(args)) as service:
            result = service.request(command, {})
    except ServiceError as error:
        return fail(args, command, error)
    tell(args, result, done if result["changed"] else unchanged)
    return Exit.DONE


def tell(args: argparse.Namespace, result: Mapping[str, object], *lines: str) -> None:
    """Print the result, for programs or for people."""
    if args.json:
        print_json(result)
    else:
        for line in lines:
            say(line)


def fail(args: argparse.Namespace, command: str, error: ServiceError) -> int:
    """Print why the request failed; return the exit status."""
    if args.json:
        print_json({"error": error.told or {"code": "unreachable", "message": str(error)}})
    note(f"edgerec {command}: {error}")
    return Exit.CONFIG if error.told.get("code") == "bad_config" else Exit.FAILED
