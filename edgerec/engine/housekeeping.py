"""Runs the writer thread's chores: a chore that fails affects neither recording nor other chores.

Chores read folders and files that others write to. Any failure is logged once, shown in the status,
and retried later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from edgerec.health.verdict import Reason

log = logging.getLogger(__name__)

RETRY_NS: Final = 60 * 1_000_000_000


class Housekeeping:
    """Runs chores in order; for one thread but for `reasons`.

    Parameters
    ----------
    chores
        Chores by name; called with the time on CLOCK_MONOTONIC_RAW.
    """

    def __init__(self, chores: Mapping[str, Callable[[int], None]]) -> None:
        self._chores = chores
        self._retry_ns: dict[str, int] = {}
        self._trouble: Mapping[str, str] = {}  # replaced as a whole

    def step(self, now_ns: int) -> None:
        """Run each chore, unless it has just failed."""
        for name, chore in self._chores.items():
            if now_ns >= self._retry_ns.get(name, now_ns):
                self._attempt(name, chore, now_ns)

    def finish(self, name: str, save: Callable[[], None], now_ns: int) -> None:
        """Run a chore's last step."""
        self._attempt(name, lambda _: save(), now_ns)

    def reasons(self) -> tuple[Reason, ...]:
        """Return why the service is not as it should be; for any thread."""
        return tuple(
            Reason(
                "housekeeping",
                None,
                f"{name} failed: {why}",
                "recording continues, and it is retried every minute; if it persists, report it",
            )
            for name, why in self._trouble.items()
        )

    def _attempt(self, name: str, chore: Callable[[int], None], now_ns: int) -> None:
        others = {one: why for one, why in self._trouble.items() if one != name}
        try:
            chore(now_ns)
        except Exception as error:
            if name not in self._trouble:
                log.exception("a chore has failed, recording continues chore=%s", name)
            self._trouble = {**others, name: str(error) or type(error).__name__}
            self._retry_ns[name] = now_ns + RETRY_NS
        else:
            if name in self._trouble:
                self._trouble = others
            self._retry_ns.pop(name, None)
