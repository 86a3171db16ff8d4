"""What is to be run for one event, how much all that may take, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.store.retention.inventory import ACK_SUFFIX

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class HookLimits:
    """How much of a kiosk hooks may take."""

    running: int = 2
    """At once: a Pi has four cores, and the recording needs one of them now and then."""
    waiting: int = 256
    """To be run, or run again: two hours of 30 s chunks while an upload fails."""
    time_ns: int = 300 * _SECOND_NS
    """For one run: enough to upload 70 MB at 2 Mbit/s."""
    first_retry_ns: int = 10 * _SECOND_NS
    last_retry_ns: int = 600 * _SECOND_NS
    stop_ns: int = 5 * _SECOND_NS
    """For all that is still to be done when the service ends: systemd waits for 90 s."""
    end_ns: int = 5 * _SECOND_NS
    """For a program to be gone once it is told to: its keeper takes 2 s at most."""


@dataclass(frozen=True, slots=True)
class Job:
    """One event that a program is to be run for."""

    hook: str
    """Its name in the configuration."""
    command: tuple[str, ...]
    """The program and its arguments, with {names} in them."""
    named: Mapping[str, str]
    """What those stand for."""
    file: Path | None = None
    """The published file it is about."""
    tries: int = 0
    """Runs that have failed."""

    def filled(self) -> list[str]:
        """Return the command with the names replaced."""
        return [argument.format(**self.named) for argument in self.command]

    def unacknowledged(self) -> bool:
        """Tell whether nobody has fetched the file that it is about.

        Raises
        ------
        OSError
            Its folder can't be looked into.
        """
        if self.file is None:
            return False
        return self.file.exists() and not self.file.with_suffix(ACK_SUFFIX).exists()
