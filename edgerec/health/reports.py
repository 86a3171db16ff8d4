"""Reports of the parts of a recorder; each is replaced as a whole, for any thread to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgerec.audio import SourceState, TrackName
from edgerec.session.backlog import WritingProgress

MAX_TOLD: Final = 10  # leftovers, by name


@dataclass(frozen=True, slots=True)
class WritingState:
    """State of the writer thread."""

    trouble: str | None = None
    """Why nothing can be written at the moment; None: it can."""
    since_ns: int = 0
    """When that changed last, on CLOCK_MONOTONIC_RAW."""
    progress: WritingProgress = field(default_factory=WritingProgress)
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
    """Counts of hook runs so far, by outcome."""

    succeeded: int = 0
    failed: int = 0
    """Number of runs that ended with a nonzero exit status, took too long, or could not begin."""
    dropped: int = 0
    """Number of runs that never began, or were not repeated, for lack of room or time."""
    waiting: int = 0
    running: int = 0
    trouble: str | None = None
    """Hooks that failed at their last run, and why; None: none."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """Progress of the recording so far, as counted by its threads and compared by the watchdog."""

    seconds: float | None
    """Length of what is committed of the session in progress; None: there is none."""
    committed: int
    """Number of frames of all sessions, plus one for each that has ended, so that sessions of
    equal length count as progress. During a session nothing else shows that the recorder thread
    works."""
    rounds: int
    """Number of recorder-thread steps. Without a session nothing else shows that it works."""
    durable: int
    """Number of the session's frames that survive a power cut, or are declared lost."""
    captured: bool
    """Whether the recorder thread has ended normally, so that only writing is left."""
    written: int
    """Number of steps of the writer thread, and of pieces within them."""
    trouble: str | None
    """Reason why nothing can be written, as declared by the writer thread."""
    sources: Mapping[TrackName, SourceState]
