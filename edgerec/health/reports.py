"""Reports of the parts of a recorder; each is replaced as a whole, for any thread to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgerec.audio import SourceState, TrackName
from edgerec.clock import ClockReading
from edgerec.health.echo_history import EchoKnown
from edgerec.health.monitor import Heard
from edgerec.health.status import HookCounts, Reason
from edgerec.health.usage import Usage
from edgerec.session.backlog import Backlog, WritingProgress
from edgerec.session.events import RecorderState
from edgerec.session.timeline import SessionTimeline
from edgerec.store.publish import FilePublished
from edgerec.store.retention.cleanup import Space

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
class Writing:
    """State of writing audio to the disk."""

    state: WritingState
    """Trouble as reported by the writer thread."""
    backlog: Backlog
    """Backlog according to frame counts."""
    usual_lag_s: float
    """Largest `Backlog.lag_s` that is usual."""

    @property
    def trouble(self) -> str | None:
        """Why audio does not reach the disk; None: it does."""
        if self.state.trouble is not None:
            return self.state.trouble
        lag_s = self.backlog.lag_s
        if lag_s <= self.usual_lag_s and not self.backlog.losing:
            return None
        return f"the disk does not answer, {lag_s:.0f} s of audio are not on it"


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """What has become of leftovers since the service started."""

    left: tuple[tuple[str, str], ...] = ()
    """Leftovers that wait for another try, each a name in the storage root and why it waits."""
    quarantined: tuple[str, ...] = ()
    """The latest names in `quarantine/`."""


@dataclass(frozen=True, slots=True)
class LastPublished:
    """The file that was published last."""

    name: str
    kind: str
    at_ns: int
    """Time of publishing on CLOCK_MONOTONIC_RAW."""

    @classmethod
    def of(cls, published: FilePublished, now_ns: int) -> LastPublished:
        """Return the record of a published file."""
        return cls(published.path.name, published.kind, now_ns)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the status is made of, as it is now."""

    kiosk: str
    activity: RecorderState
    started_ns: int
    """Instant of the service's start; all times are on CLOCK_MONOTONIC_RAW."""
    timeline: SessionTimeline | None
    """Timeline of the session; None while there is none."""
    sources: Mapping[TrackName, SourceState]
    heard: Heard
    writing: Writing
    space: Space | None
    last_published: LastPublished | None
    clock: ClockReading
    usage: Usage
    hooks: HookCounts = field(default_factory=HookCounts)
    taps: int = 0
    """Number of open taps."""
    taps_lost_blocks: int = 0
    echo: EchoKnown = field(default_factory=EchoKnown)
    """The echo's history over weeks."""
    more: tuple[Reason, ...] = ()
    """Reasons from outside the recorder: its configuration file, hooks, metrics."""
    turns_trouble: str | None = None
    """Reason why turns are no longer found."""
    recovery: RecoveryState = field(default_factory=RecoveryState)
    """Results of recovery."""
    chores: tuple[Reason, ...] = ()
    """Reasons from chores that fail."""
    retention_trouble: str | None = None
    """What retention has to skip, and why."""


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
