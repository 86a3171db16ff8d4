"""The process that a command runs in: its exit status, its standard streams, its signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from types import FrameType
from typing import Final


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


_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Open /dev/null for each standard stream that was closed before our start.

    Otherwise the next file that is opened, perhaps an audio file, gets its number, and whatever a
    library prints on stderr is written into that file.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(
                os.devnull, os.O_RDWR
            )  # gets the lowest number that is free: this one
            os.set_inheritable(nothing, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Once constructed, SIGTERM and Ctrl-C no longer end the process but request its end.

    Construct it before what it is to stop: a signal in between is kept. For the main thread, like
    all signal handlers.
    """

    def __init__(self) -> None:
        self._came: signal.Signals | None = None
        self._stop: Callable[[signal.Signals], None] | None = None
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def stops(self, stop: Callable[[signal.Signals], None]) -> None:
        """Call `stop` with every signal, also with the last one that has come already."""
        self._stop = stop
        if self._came is not None:
            stop(self._came)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._came = signal.Signals(number)
        if self._stop is not None:
            self._stop(self._came)
