"""Lets a signal end a command in good order, whenever it comes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Final

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
