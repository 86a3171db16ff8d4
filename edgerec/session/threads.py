"""Makes the service's threads: if one of them fails, the whole service ends and says why.

Nobody looks at a kiosk for months. A service that kept running without its control socket or its
hooks would go unnoticed; one that ends is restarted by systemd, whole. So every thread of the
service is made here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

ThreadMaker = Callable[..., threading.Thread]
"""`threading.Thread` or `Threads.make`; called with `target` and `name`."""


class Threads:
    """Makes threads, and remembers the first that has ended by an exception."""

    def __init__(self) -> None:
        self._on_failure: Callable[[], None] = lambda: None
        self.failure: BaseException | None = None
        """Exception of the first thread that failed; None: none has."""

    def make(self, *, target: Callable[[], object], name: str) -> threading.Thread:
        """Return a thread that is not started yet; for any thread.

        It does not keep the process from ending: who starts an engine ends it, also at the end of a
        program (`api.recorder`).
        """
        return threading.Thread(target=self._run, args=(target, name), name=name, daemon=True)

    def end_with(self, stop: Callable[[], None]) -> None:
        """Have whatever depends on these threads stopped when one of them fails.

        Parameters
        ----------
        stop
            Called in each thread that fails; must not raise. At once, if one has failed already.
        """
        self._on_failure = stop
        if self.failure is not None:
            stop()

    def _run(self, target: Callable[[], object], name: str) -> None:
        try:
            target()
        except BaseException as error:
            # The traceback follows where it is finally raised; this line names the thread.
            log.critical("a thread has failed, the service ends thread=%s why=%r", name, str(error))
            if self.failure is None:
                self.failure = error
            self._on_failure()
