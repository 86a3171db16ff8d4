"""Recovers what crashes have left in the work folder while recording continues, and logs it.

One leftover at a time, in a thread of its own; what can't be published is retried, less and less
often. Nothing found there ends the thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from edgerec.clock import Clock
from edgerec.health.verdict import MAX_TOLD, RecoveryState
from edgerec.stamps import stamp_now
from edgerec.store.publish import FilePublished
from edgerec.store.records.naming import utc_text
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import Recovery, recover_each

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 600.0  # by then it waits for a person


class RecoveryLoop:
    """Recovers until `close`; `run` belongs to a thread of its own.

    Parameters
    ----------
    on_published
        Called in that thread with every file as soon as it is published.
    """

    def __init__(
        self, root: StorageRoot, clock: Clock, on_published: Callable[[FilePublished], None]
    ) -> None:
        self._root = root
        self._clock = clock
        self._on_published = on_published
        self._awake = threading.Event()
        self._closing = False
        self._logged: set[str] = set()
        self.state = RecoveryState()
        """Results so far; replaced as a whole, for any thread."""

    def wake(self) -> None:
        """Try again now, because there is something new; for any thread."""
        self._awake.set()

    def close(self) -> None:
        """End after the leftover that is being recovered; for any thread."""
        self._closing = True
        self._awake.set()

    def run(self) -> None:
        """Recover until `close`."""
        retry_s = FIRST_RETRY_S
        while not self._closing:
            self._awake.clear()
            self.step()
            if self._closing:
                return
            if self._awake.wait(retry_s if self.state.left else None):
                retry_s = FIRST_RETRY_S
            else:
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    def step(self) -> None:
        """Try each leftover once."""
        done = Recovery()
        try:
            steps = recover_each(self._root, stamp_now(self._clock), done)
        except Exception as error:
            done.left.append((self._root.state, str(error) or repr(error)))
            steps = iter(())
        while not self._closing and self._take(steps, done):
            self._tell(done)
        self._tell(done)
        self._note_left(done)

    def _take(self, steps: Iterator[None], done: Recovery) -> bool:
        try:
            next(steps)
        except StopIteration:
            return False
        except Exception as error:  # of the work folder itself: no leftover's own gets here
            done.left.append((self._root.work, str(error) or repr(error)))
            return False
        return True

    def _tell(self, done: Recovery) -> None:
        """Report what has been done since the last time, and forget it: there may be a lot."""
        _log(done)
        names = (*self.state.quarantined, *(path.name for path, _ in done.quarantined))
        self.state = replace(self.state, quarantined=names[-MAX_TOLD:])
        for published in done.published:
            self._on_published(published)
        done.cut_short = None
        for told in (done.published, done.completed, done.quarantined, done.deleted):
            told.clear()

    def _note_left(self, done: Recovery) -> None:
        left = [(str(path.relative_to(self._root.path)), why) for path, why in done.left]
        for name, why in left:
            if name not in self._logged:
                log.error("a file left by a crash can't be recovered yet file=%r why=%r", name, why)
        self._logged = {name for name, _ in left}
        self.state = replace(self.state, left=tuple(left))


def _log(done: Recovery) -> None:
    if done.cut_short is not None:
        log.warning(
            "previous session ended by a crash; audio after end= is lost session=%s end=%s",
            done.cut_short.session,
            utc_text(done.cut_short.last.utc_ns),
        )
    for path in done.completed:
        log.info("recovered file=%s", path.name)
    for path, reason in done.quarantined:
        log.error("beyond repair, kept in quarantine file=%s why=%r", path.name, reason)
