"""The exit statuses of commands."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit status of `edgerec`; scripts and systemd units rely on the numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The command line is wrong; argparse's own number."""
    DEGRADED = 3
    """It works, but something is wrong."""
    CONFIG = 78
    """The configuration is wrong: EX_CONFIG of sysexits.h, so that systemd does not try again."""
    INTERRUPTED = 130
    """Stopped from the keyboard: 128 + SIGINT, as shells count."""
    BROKEN_PIPE = 141
    """The reader of the output went away: 128 + SIGPIPE."""
