"""Options that commands share, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from edgerec.config import DEFAULT_FILE, FILE_VARIABLE, load_config
from edgerec.service.control.socket import sockets_to_try

MAX_SECONDS: Final = 366 * 86_400  # for more, leave the option out


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--config FILE`; `args.config` goes into `load_config` as it is."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"configuration (default: ${FILE_VARIABLE}, else {DEFAULT_FILE})",
    )


def add_named_config(parser: argparse.ArgumentParser, what_for: str) -> None:
    """Let a command that needs no configuration take `--config FILE`, if it is named."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"configuration {what_for} (default: none)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--json`, for programs that read its output."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--socket PATH`; see `socket_paths`."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=Path,
        help="the service's control socket (default: as configured, else that of this user's own "
        "recorder, else of the system's service)",
    )


def socket_paths(args: argparse.Namespace) -> tuple[Path, ...]:
    """Return where the service may listen, in order; `--socket` needs no valid configuration.

    Raises
    ------
    ConfigError
        Only the configuration could say so, and it is wrong.
    """
    if args.socket is not None:
        return (args.socket,)
    configured = load_config(args.config, records=False).control.socket
    return sockets_to_try() if configured is None else (configured,)


def add_tree(parser: argparse.ArgumentParser) -> None:
    """Let a command take the folder of published files that it is about; see `tree_path`."""
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=Path,
        help="where to look (default: storage.root of the configuration)",
    )


def tree_path(args: argparse.Namespace) -> Path:
    """Return where to look; a given path needs no valid configuration.

    Raises
    ------
    ConfigError
        Only the configuration could say so, and it is wrong.
    """
    if args.path is not None:
        path: Path = args.path
        return path
    return load_config(args.config, records=False).storage.root


def parse_seconds(text: str) -> float:
    """Return a length of time as the command line gives it, 0 to `MAX_SECONDS`; for argparse."""
    try:
        length_s = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 <= length_s <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{length_s:g} s: give 0 to {MAX_SECONDS}")
    return length_s
