"""Back-off of one activity that the disk may make fail: what failed, since when, when to retry."""

from __future__ import annotations

from typing import Final

from edgerec.clock import SECOND_NS
from edgerec.store.disk import StoreError

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 5.0
"""Of writing: a sixth of the usual history, which then still holds what was not written."""


class Retrying:
    """Counts the failures of one activity; for one thread.

    Parameters
    ----------
    last_retry_s
        The wait between two tries doubles up to this.
    """

    def __init__(self, last_retry_s: float) -> None:
        self._last_retry_s = last_retry_s
        self._retry_s = FIRST_RETRY_S
        self._retry_ns = 0
        self.failure: StoreError | None = None
        """The latest failure since it last worked."""
        self.since_ns = 0
        """Instant at which it began to fail."""

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time to try."""
        return now_ns >= self._retry_ns

    def hurry(self) -> None:
        """Try at once."""
        self._retry_ns = 0

    def failed(self, error: StoreError, now_ns: int) -> bool:
        """Note a failure; return whether it is the first."""
        first = self.failure is None
        if first:
            self._retry_s, self.since_ns = FIRST_RETRY_S, now_ns
        self.failure = error
        self._retry_ns = now_ns + round(self._retry_s * SECOND_NS)
        self._retry_s = min(self._retry_s * 2, self._last_retry_s)
        return first

    def worked(self) -> bool:
        """Note that it works; return whether it had failed before."""
        failed, self.failure = self.failure is not None, None
        self._retry_ns = 0
        return failed
