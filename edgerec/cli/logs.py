"""Writes the service's log lines, to standard error or to the journal, at a limited rate.

A separate thread writes them: a terminal or a journal that does not read must not delay the
recorder thread, which logs like any other. In the journal every `key=value` of a line is a field,
so a search such as `journalctl TRACK=bot` finds them.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener
from types import TracebackType
from typing import Final

from edgerec.cli.output import escaped

LINES_AT_ONCE: Final = 200  # of one kind: a start after a crash has a line for every file
LINES_PER_S: Final = 10.0  # from then on: chunks of a second, in three files, with turns, are fewer
MAX_KINDS: Final = 1000  # there are some 200; beyond, all begin again


@dataclass(slots=True)
class _Kind:
    left: float
    since_s: float
    left_out: int = 0


class LogLimit:
    """Limits the rate of log lines of one kind, so that no client can fill the journal.

    A kind is a line's fixed sentence. Lines left out are counted, and the count is logged before
    the next line of that kind. For one thread at a time, as handlers are called.

    Parameters
    ----------
    now_s
        Monotonic time.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admit(self, record: logging.LogRecord) -> int | None:
        """Return how many lines of this kind were left out before; None: this one is left out."""
        now_s = self._now_s()
        name = record.name, str(record.msg)
        if name not in self._kinds and len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        kind = self._kinds.setdefault(name, _Kind(LINES_AT_ONCE, now_s))
        kind.left = min(kind.left + (now_s - kind.since_s) * LINES_PER_S, LINES_AT_ONCE)
        kind.since_s = now_s
        if kind.left < 1:
            kind.left_out += 1
            return None
        kind.left -= 1
        left_out, kind.left_out = kind.left_out, 0
        return left_out


IDENTIFIER: Final = "edgerec"

_KEY_VALUE: Final = re.compile(r"""(?<!\S)([a-z][a-z0-9_]*)=('[^']*'|"[^"]*"|\S+)""")
_RESERVED: Final = frozenset({"MESSAGE", "MESSAGE_ID"})
_PRIORITIES: Final = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))  # of syslog(3), by level


class JournalHandler(logging.Handler):
    """Sends records to the journal. May block, so it is not for a thread that must not.

    Parameters
    ----------
    send
        `systemd.journal.send`, or a fake of it: takes the message and fields by name.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; never raises."""
        try:
            self._send(self.format(record), **journal_fields(record))
        except Exception:
            self.handleError(record)


def journal_fields(record: logging.LogRecord) -> dict[str, str | int]:
    """Return the journal fields of a record, but for the message itself."""
    fields: dict[str, str | int] = {
        key.upper(): value[1:-1] if value[0] in "'\"" and len(value) > 1 else value
        for key, value in _KEY_VALUE.findall(record.getMessage())
        if key.upper() not in _RESERVED
    }
    priority = next(value for level, value in _PRIORITIES if record.levelno >= level)
    return fields | {
        "PRIORITY": priority,
        "LOGGER": record.name,
        "THREAD_NAME": record.threadName or "",
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
    }


def stderr_is_the_journal() -> bool:
    """Tell whether what is written to standard error ends up in the journal (systemd.exec(5))."""
    try:
        error = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{error.st_dev}:{error.st_ino}"


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
