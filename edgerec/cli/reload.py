"""Have the running service read its configuration again."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from edgerec.cli.asking import add_arguments, fail, tell
from edgerec.cli.options import socket_paths
from edgerec.cli.process import Exit
from edgerec.service.control.client import ServiceConnection, ServiceError

__all__ = ["HELP", "add_arguments", "run"]

HELP: Final = """Have the running service read its configuration again. All of it applies, or, where
anything in it is wrong or can't change while the service runs, none; then every error is shown."""


def run(args: argparse.Namespace) -> int:
    """Ask the service."""
    try:
        with ServiceConnection(socket_paths(args)) as service:
            result = service.request("reload", {})
    except ServiceError as error:
        return fail(args, "reload", error)
    tell(args, result, *_lines(result))
    return Exit.DONE


def _lines(result: Mapping[str, Any]) -> list[str]:
    if not result["changed"]:
        return ["nothing has changed"]
    lines = [f"changed: {', '.join(result['changed'])}"]
    if result["reopened"]:
        lines.append(f"reopened: {', '.join(result['reopened'])}")
    if result["new_session"]:
        lines.append("a session that was being recorded has ended, and another begins")
    return lines
