"""What the parts of a recorder report of themselves; replaced as a whole, for any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgerec.audio import SourceState, TrackName
from edgerec.session.backlog import Progress

MAX_TOLD: Final = 10  # leftovers, by name


@dataclass(frozen=True, slots=True)
class WritingState:
    """State of the writer thread."""

    trouble: str | None = None
    """Why nothing can be written at the moment; None: it can."""
    since_ns: int = 0
    """When that changed last, on CLOCK_MONOTONIC_RAW."""
    progress: Progress = field(default_factory=Progress)
    """Progress with the session that is being written."""
    unpublished: int = 0
    """Number of finished chunks that wait for the wall clock, or to be published."""
    quarantined: tuple[str, ...] = ()
    """The latest names in `quarantine/` of what could not be published."""
    unpublishable: str | None = None
    """Why nothing can be published at the moment; None: it can."""


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """What has become of leftovers since the service started."""

    left: tuple[tuple[str, str], ...] = ()
    """Leftovers that wait for another try, each a name in the storage root and why it waits."""
    quarantined: tuple[str, ...] = ()
    """The latest names in `quarantine/`."""

    def describe(self, quarantined_too: tuple[str, ...] = ()) -> dict[str, object]:
        """Return it as JSON values, with what the session itself had to quarantine."""
        return {
            "waiting": len(self.left),
            "files": [{"file": name, "why": why} for name, why in self.left[:MAX_TOLD]],
            "quarantined": [*self.quarantined, *quarantined_too],
        }


@dataclass(frozen=True, slots=True)
class HookCounts:
    """What has become of the hooks so far."""

    succeeded: int = 0
    failed: int = 0
    """Runs that ended in an exit status other than 0, took too long, or could not begin."""
    dropped: int = 0
    """Runs that never began, or were not repeated, for want of room or time."""
    waiting: int = 0
    running: int = 0
    trouble: str | None = None
    """Which hooks failed the last time they were run, and why; None: none."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Counts of what the recording has done so far, which the watchdog compares."""

    seconds: float | None
    """Committed in the session that is recorded; None: there is none, so nothing is committed."""
    committed: int
    """Frames of all sessions, and one more for each that has ended: sessions of the same length at
    every look are progress. While there is one, nothing else shows that the recorder thread does
    its work."""
    rounds: int
    """Of the recorder thread. While there is no session, nothing else shows that it looks for
    the devices."""
    durable: int
    """Frames of the session that is recorded which survive a power cut, or are declared lost."""
    captured: bool
    """The recorder thread has ended, as it should: all that is left is to write."""
    written: int
    """Steps of the writer thread, and pieces within them."""
    trouble: str | None
    """Why nothing can be written, as the writer thread has declared it."""
    sources: Mapping[TrackName, SourceState]
