"""Sends log records to systemd's journal, with every `key=value` of a line as a field.

So a search such as `journalctl TRACK=bot` finds them.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import Final

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
