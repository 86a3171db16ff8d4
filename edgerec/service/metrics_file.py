"""Keeps a node_exporter textfile with the metrics up to date.

The file is replaced as a whole, so that a scrape never sees half of it. It is removed when the
service ends; one left by a crash is recognised by its age (``node_textfile_mtime_seconds``).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from edgerec.health.status import Status
from edgerec.service.metrics import exposition
from edgerec.session.threads import ThreadMaker

log = logging.getLogger(__name__)

PERIOD_S: Final = 15.0  # Prometheus asks every 15 to 60 s
FILE_MODE: Final = 0o644  # node_exporter is another user, and levels are no secret


class MetricsFile:
    """Keeps a textfile up to date in a thread of its own; a context manager that removes it.

    A disk that hangs blocks only this thread.

    Parameters
    ----------
    path
        Must end in `.prom` for node_exporter to read it; its folder must exist.
    status
        Returns the status; for any thread.
    """

    def __init__(
        self,
        path: Path,
        status: Callable[[], Status],
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._path = path
        self._status = status
        self._failing = False
        self._closing = threading.Event()
        self._thread = make_thread(target=self._run, name="metrics")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave no numbers of a service that has ended."""
        self._closing.set()
        self._thread.join(PERIOD_S)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._path

    def write(self) -> None:
        """Replace the file; where that fails it is logged, once until it works again."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            fd = os.open(
                fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(fd, "w") as file:
                os.fchmod(fd, FILE_MODE)  # whatever the umask
                file.write(exposition(self._status()))
            fresh.replace(self._path)
        except OSError as problem:
            if not self._failing:
                log.error("metrics can't be written path=%s why=%r", self._path, str(problem))  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False

    def _run(self) -> None:
        while True:
            self.write()
            if self._closing.wait(PERIOD_S):
                break
        for left in (self._path, self._path.with_name(f".{self._path.name}.new")):
            try:
                left.unlink(missing_ok=True)
            except OSError as problem:
                log.warning("old metrics can't be removed path=%s why=%r", left, str(problem))


class ConfiguredMetrics:
    """The textfile that is configured at present, if any; a context manager that ends it."""

    def __init__(
        self, status: Callable[[], Status], *, make_thread: ThreadMaker = threading.Thread
    ) -> None:
        self._status = status
        self._make_thread = make_thread
        self._file: MetricsFile | None = None

    def follow(self, path: Path | None) -> None:
        """Write to this file from now on, and to no other; None: to none."""
        if path == (None if self._file is None else self._file.path):
            return
        self.__exit__(None, None, None)
        if path is not None:
            self._file = MetricsFile(path, self._status, make_thread=self._make_thread).__enter__()

    def __enter__(self) -> Self:
        """Return it; it writes nothing yet."""
        return self

    def __exit__(self, *details: Any) -> None:
        if self._file is not None:
            self._file.__exit__(*details)
            self._file = None
