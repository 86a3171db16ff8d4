"""Writes the service's log lines, to standard error or to the journal.

A separate thread writes them: a terminal or a journal that does not read must not delay the
recorder thread, which logs like any other.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
from logging.handlers import QueueHandler, QueueListener
from types import TracebackType
from typing import Final

from edgerec.cli.journal import JournalHandler, stderr_is_the_journal
from edgerec.cli.log_limit import LogLimit
from edgerec.cli.terminal import escaped

FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
MAX_WAITING: Final = 1000  # records; at a line a second a quarter of an hour


class _LineFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        return escaped(super().formatMessage(record))

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return "\n".join(map(escaped, super().formatException(ei).split("\n")))


def line_formatter(form: str) -> logging.Formatter:
    """Return what makes each record one line that a terminal shows as it is.

    A traceback follows it, in lines of its own.
    """
    return _LineFormatter(form)


class DroppingHandler(QueueHandler):
    """Hands records over without waiting; when nobody takes them, they are dropped and counted."""

    def __init__(self, waiting: queue.SimpleQueue[logging.LogRecord], room: int) -> None:
        # A SimpleQueue may be put into by a signal handler that interrupts a put; a Queue locks up.
        super().__init__(waiting)
        self._waiting = waiting
        self._room = room
        self._dropped = 0
        self._limit = LogLimit()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a record, unless there are too many of its kind."""
        left_out = self._limit.admit(record)
        if left_out is None:
            return
        if left_out:
            what = f"log lines of one kind left out lines={left_out} kind={str(record.msg)[:80]!r}"
            super().emit(_warning(what))
        super().emit(record)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand over a record, and first of all how many there was no room for."""
        if self._waiting.qsize() >= self._room:
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._waiting.put(_warning(f"log lines dropped, nobody read them lines={dropped}"))
        self._waiting.put(record)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write log records to stderr, a line each: `LEVEL module: a fixed sentence key=value`.

    Without the time. Lines of the last moments are written before the process ends.
    """
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(logging.Formatter(FORMAT))
    _log_by(writer, level)


def log_to_journal(level: int = logging.INFO) -> None:
    """Send log records to the journal, with fields, if systemd reads stderr; else to stderr."""
    if not stderr_is_the_journal():
        log_to_stderr(level)
        return
    from systemd import journal  # only there on Linux, and only needed here

    _log_by(JournalHandler(journal.send), level)


def _log_by(writer: logging.Handler, level: int) -> None:
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = QueueListener(waiting, writer)
    handler = DroppingHandler(waiting, MAX_WAITING)
    handler.setFormatter(line_formatter("%(message)s"))  # the rest is the writer's
    logging.basicConfig(level=level, handlers=[handler])
    listener.start()
    atexit.register(listener.stop)


def _warning(message: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None)
