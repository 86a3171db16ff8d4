"""A hook's run for one event, the limits of hooks, and their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgerec.clock import SECOND_NS
from edgerec.store.disk import is_there
from edgerec.store.retention.inventory import ACK_SUFFIX


@dataclass(frozen=True, slots=True)
class HookLimits:
    """Limits on the resources that hooks may use."""

    running: int = 2
    """Maximum number at once: a Pi has four cores, and the recording needs one now and then."""
    waiting: int = 256
    """Maximum number waiting to be run or rerun: two hours of 30 s chunks while uploads fail."""
    time_ns: int = 300 * SECOND_NS
    """Time limit of one run: enough to upload 70 MB at 2 Mbit/s."""
    first_retry_ns: int = 10 * SECOND_NS
    last_retry_ns: int = 600 * SECOND_NS
    stop_ns: int = 5 * SECOND_NS
    """Time limit for all remaining runs when the service ends: systemd waits for 90 s."""
    end_ns: int = 5 * SECOND_NS
    """Time limit for a program to be gone after being stopped: its keeper takes at most 2 s."""


@dataclass(frozen=True, slots=True)
class Job:
    """One event that a program is to be run for."""

    hook: str
    """Name of the hook in the configuration."""
    command: tuple[str, ...]
    """The program and its arguments, with {names} in them."""
    named: Mapping[str, str]
    """Values of these names."""
    file: Path | None = None
    """The published file that the event is about."""
    tries: int = 0
    """Number of runs that have failed."""

    def filled(self) -> list[str]:
        """Return the command with the names replaced."""
        return [argument.format(**self.named) for argument in self.command]

    def unacknowledged(self) -> bool:
        """Tell whether its file has not been acknowledged yet.

        Raises
        ------
        StoreError
            Its folder can't be looked into.
        """
        if self.file is None:
            return False
        return is_there(self.file) and not is_there(self.file.with_suffix(ACK_SUFFIX))
