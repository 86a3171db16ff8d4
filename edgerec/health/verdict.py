"""Judges the health of the service: reports of its parts in, a state and its reasons out.

Reports are replaced as a whole, for any thread to read; judging them is pure. Each rule is in one
place, and each threshold has a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgerec.audio import SourceState, TrackName
from edgerec.clock import SECOND_NS, ClockReading
from edgerec.health.echo_history import EchoKnown
from edgerec.health.monitor import Heard
from edgerec.health.status import HealthName, HookCounts, Reason
from edgerec.health.usage import Usage
from edgerec.session.events import RecorderState
from edgerec.session.timeline import Backlog, SessionTimeline, WritingProgress
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


STARTS_NS: Final = 15 * SECOND_NS
"""Time until a device that has not delivered is missing: a child may take 10 s to open one."""
LEAST_HOURS_LEFT: Final = 24.0  # somebody has a working day to come and look


@dataclass(frozen=True, slots=True)
class Health:
    """State of the service, with its reasons."""

    state: HealthName
    """State in a word. `degraded`: something is wrong, but it records. `failed`: no track delivers,
    or audio is being lost because it does not reach the disk."""
    reasons: tuple[Reason, ...]


def judge(facts: Facts) -> Health:
    """Return the service's health."""
    writing, sources = facts.writing, facts.sources
    silent = list(_silent_tracks(sources, facts.clock.raw_ns))
    reasons = (
        *silent,
        *_storage(writing, facts.space),
        *_retention(facts.retention_trouble),
        *_unpublishable(writing.state.unpublishable),
        *leftover_reasons(facts.recovery),
        *facts.chores,
        *facts.heard.warnings,
        *facts.echo.reasons,
        *facts.more,
        *_turns(facts.turns_trouble),
        *_hooks(facts.hooks.trouble),
    )
    nothing_comes = bool(sources) and len(silent) == len(sources)
    if nothing_comes or writing.backlog.losing:
        return Health("failed", reasons)
    return Health("degraded" if reasons else "ok", reasons)


def _silent_tracks(sources: Mapping[TrackName, SourceState], now_ns: int) -> Iterator[Reason]:
    for track, source in sources.items():
        if source.name in ("running", "idle"):
            continue
        if source.name == "starting" and now_ns - source.since_ns < STARTS_NS:
            continue
        detail = source.detail or "it has not delivered yet"
        yield Reason(
            "device",
            track,
            f"the {track} track is {source.name}: {detail}",
            "plug the device in, or name another in the configuration; "
            "`edgerec devices` lists what there is, `edgerec doctor` looks further",
        )


def _storage(writing: Writing, space: Space | None) -> Iterator[Reason]:
    if writing.trouble is not None:
        frames = writing.backlog.lost_frames
        lost = f"; audio is being lost, {frames} frames so far" if writing.backlog.losing else ""
        yield Reason(
            "disk",
            None,
            f"nothing can be written: {writing.trouble}{lost}",
            "see the kernel log and the free space and inodes of storage.root; memory holds "
            "storage.stall_seconds of audio, what comes after that is lost",
        )
    if space is not None and space.hours_left < LEAST_HOURS_LEFT:
        yield Reason(
            "space",
            None,
            f"room for {space.hours_left:.1f} more hours of recording",
            "see that the sync job fetches files, or give `retention` less to keep",
        )
    if space is not None and space.short_files:
        yield Reason(
            "space",
            None,
            "the disk has hardly any inodes left, which every file takes (df -i)",
            "see that the sync job fetches files; make longer chunks, or a file system with more",
        )


def _retention(trouble: str | None) -> Iterator[Reason]:
    if trouble is not None:
        yield Reason(
            "retention",
            None,
            f"retention can't handle entries under ready/: {trouble}",
            "move what is not edgerec's elsewhere, and give the rest to the service's user "
            "(chown); a link to another disk is not followed",
        )


def _unpublishable(trouble: str | None) -> Iterator[Reason]:
    if trouble is not None:
        yield Reason(
            "publish",
            None,
            f"nothing can be published: {trouble}",
            "recording continues, files wait in .work; `ready` and all in it must belong to the "
            "service's user, on the same file system",
        )


def leftover_reasons(recovery: RecoveryState) -> Iterator[Reason]:
    """Yield why leftovers of crashes can not be published yet."""
    if recovery.left:
        name, why = recovery.left[0]
        more = f" (and {len(recovery.left) - 1} more)" if len(recovery.left) > 1 else ""
        yield Reason(
            "recovery",
            None,
            f"files left by a crash can't be published yet: {name}: {why}{more}",
            "it is retried and nothing is lost; the service's user must own all of "
            "storage.root, and `ready` must be a folder on the same file system",
        )


def _turns(trouble: str | None) -> Iterator[Reason]:
    if trouble is not None:
        yield Reason(
            "turns",
            None,
            f"turns are no longer found in this session: {trouble}",
            "`edgerec doctor` says what detectors need; the next session tries again",
        )


def _hooks(trouble: str | None) -> Iterator[Reason]:
    if trouble is not None:
        yield Reason(
            "hooks",
            None,
            f"a hook failed the last time it was run: {trouble}",
            "the log has what it printed: journalctl -u edgerec; it is tried again for its file",
        )
