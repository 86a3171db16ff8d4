"""What follows when a thread of the service fails: the whole service ends, and says of what.

Nobody looks at a kiosk for months. A service that goes on without its control socket or its hooks
would not be noticed; one that ends is started again by systemd, whole. So every thread of the
service is made here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

ThreadMaker = Callable[..., threading.Thread]
"""`threading.Thread` or `Threads.make`; given `target`, `name` and perhaps `daemon`."""


class Threads:
    """Makes threads, and remembers the first that has ended by an exception.

    Parameters
    ----------
    on_failure
        Called in each thread that has failed; must not raise.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self.failure: BaseException | None = None
        """What the first of them has failed of; None: none has."""

    def make(
        self, *, target: Callable[[], object], name: str, daemon: bool = False
    ) -> threading.Thread:
        """Return a thread that is not started yet; for any thread."""
        return threading.Thread(target=self._run, args=(target, name), name=name, daemon=daemon)

    def _run(self, target: Callable[[], object], name: str) -> None:
        try:
            target()
        except BaseException as error:
            # Where it happened is told by who raises it in the end, at length; here is who it was.
            log.critical("a thread has failed, the service ends thread=%s why=%r", name, str(error))
            if self.failure is None:
                self.failure = error
            self._on_failure()
