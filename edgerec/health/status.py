"""The status document, from which `edgerec status`, metrics and meters are made.

`docs/contract.md` describes it. Made in the calling thread, from values that the threads of the
recording replace as a whole; nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Final

from edgerec.audio import TRACKS, GapReason, SourceState, TrackName, TrackReport
from edgerec.clock import SECOND_NS, ClockReading
from edgerec.health.echo_history import EchoKnown
from edgerec.health.monitor import Heard
from edgerec.health.reports import HookCounts, RecoveryState, WritingState
from edgerec.health.usage import Usage
from edgerec.health.verdict import Health, Reason, Writing, judge
from edgerec.session.events import RecorderState
from edgerec.session.timeline import SessionTimeline
from edgerec.store.publish import FilePublished
from edgerec.store.retention.cleanup import Space
from edgerec.version import __version__

SCHEMA: Final = "edgerec-status/1"

_LOSSES: Final = (GapReason.XRUN, GapReason.OVERRUN)


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


def health_of(facts: Facts) -> Health:
    """Return the service's health."""
    return judge(
        facts.sources,
        facts.writing,
        facts.space,
        (
            *_unpublishable(facts.writing.state),
            *leftover_reasons(facts.recovery),
            *facts.chores,
            *facts.heard.warnings,
            *facts.echo.reasons,
            *facts.more,
        ),
        facts.clock.raw_ns,
        turns_trouble=facts.turns_trouble,
        retention_trouble=facts.retention_trouble,
        hook_trouble=facts.hooks.trouble,
    )


def status_as_json(facts: Facts) -> dict[str, object]:
    """Return the status as JSON values."""
    timeline = facts.timeline
    recording = timeline is not None and timeline.stop is None
    seconds = 0.0 if timeline is None else timeline.history.committed / timeline.rate
    health = health_of(facts)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "kiosk": facts.kiosk,
        "state": health.state,
        "reasons": [_reason(reason) for reason in health.reasons],
        "activity": facts.activity,
        "recording": recording,
        "session_seconds": round(seconds, 3) if recording else None,
        "sample_rate": timeline.rate if timeline is not None else None,
        "uptime_seconds": round((facts.clock.raw_ns - facts.started_ns) / SECOND_NS, 1),
        "tracks": {name: _track(name, facts) for name in TRACKS},
        "echo": facts.echo.describe(),
        "storage": _storage(facts, recording=recording),
        "last_published": _last_published(facts),
        "clock": {
            "utc": _utc(facts.clock, 0),
            "trusted": facts.clock.utc_trusted,
            "error_ms": facts.clock.utc_error_ms,
        },
        "memory": {"pss_bytes": facts.usage.pss_bytes, "rss_bytes": facts.usage.rss_bytes},
        "cpu_seconds": facts.usage.cpu_seconds,
        "processes": facts.usage.processes,
        "hooks": asdict(facts.hooks),
        "taps": {"open": facts.taps, "lost_blocks": facts.taps_lost_blocks},
    }


def _unpublishable(writing: WritingState) -> Iterator[Reason]:
    if writing.unpublishable is not None:
        yield Reason(
            "publish",
            None,
            f"nothing can be published: {writing.unpublishable}",
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


def _reason(reason: Reason) -> dict[str, object]:
    return {
        "code": reason.code,
        "track": reason.track,
        "why": reason.why,
        "hint": reason.hint,
    }


def _track(name: TrackName, facts: Facts) -> dict[str, object]:
    if name not in facts.sources:
        return {"state": "off"}
    source = facts.sources[name]
    reports = facts.timeline.known() if facts.timeline is not None else {}
    report = reports.get(name, TrackReport())
    levels, gaps = facts.heard.levels[name], facts.heard.gaps[name]
    return {
        "state": source.name,
        "since": _utc(facts.clock, facts.clock.raw_ns - source.since_ns),
        "for_seconds": _seconds_since(source.since_ns, facts),
        "detail": source.detail,
        "device": report.device,
        "drift_ppm": report.drift_ppm,
        "residual_us": report.residual_us,
        "echo_delay_ms": report.echo.delay_ms,
        "echo_return_db": report.echo.return_db,
        "peak_dbfs": levels.peak_dbfs,
        "rms_dbfs": levels.rms_dbfs,
        "clipped": levels.clipped,
        "gaps": {
            reason.label: {"count": total.count, "frames": total.frames}
            for reason, total in gaps.items()
        },
        "xruns": sum(gaps[reason].count for reason in _LOSSES if reason in gaps),
        "late_frames": report.late_frames,
        "restarts": source.restarts,
        "turn": _turn(name, facts.timeline),
    }


def _turn(name: TrackName, timeline: SessionTimeline | None) -> int | None:
    """Return the number of the turn that a speaker has now."""
    if timeline is None or timeline.turns is None:
        return None
    parts = timeline.turns.pending(name)
    goes_on = bool(parts) and parts[-1].ended in (None, "full")
    return parts[-1].number if goes_on else None


def _storage(facts: Facts, *, recording: bool) -> dict[str, object]:
    writing, space = facts.writing, facts.space
    state, backlog = writing.state, writing.backlog
    hours_left = None if space is None else round(space.hours_left, 1)
    return {
        "free_bytes": space.free_bytes if space else None,
        "stored_bytes": space.stored_bytes if space else None,
        "unacknowledged_bytes": space.unacknowledged_bytes if space else None,
        "hours_left": hours_left,
        "unpublished": state.unpublished,
        "unpublishable": state.unpublishable,
        "leftovers": facts.recovery.describe(state.quarantined),
        "writer_lag_seconds": round(backlog.lag_s, 3),
        "captured_age_seconds": _captured_age_s(facts) if recording else None,
        "durable_age_seconds": _age_s(backlog.waits_since_ns, facts),
        "lost_frames": backlog.lost_frames,
        "trouble": writing.trouble,
        "trouble_for_seconds": _trouble_for_s(facts),
    }


def _captured_age_s(facts: Facts) -> float | None:
    """Return how long ago the newest frame of the session was captured."""
    timeline = facts.timeline
    if timeline is None:
        return None
    return _age_s(timeline.stamp_of(timeline.history.committed).monotonic_ns, facts)


def _trouble_for_s(facts: Facts) -> float | None:
    """Return since when the disk takes nothing."""
    if facts.writing.state.trouble is not None:
        return _seconds_since(facts.writing.state.since_ns, facts)
    if facts.writing.trouble is not None:
        return _age_s(facts.writing.backlog.waits_since_ns, facts)
    return None


def _age_s(monotonic_ns: int | None, facts: Facts) -> float | None:
    """Return how long ago an instant on CLOCK_MONOTONIC was."""
    if monotonic_ns is None:
        return None
    return round(max(facts.clock.monotonic_ns - monotonic_ns, 0) / SECOND_NS, 1)


def _last_published(facts: Facts) -> dict[str, object] | None:
    last = facts.last_published
    if last is None:
        return None
    return {"file": last.name, "kind": last.kind, "ago_seconds": _seconds_since(last.at_ns, facts)}


def _seconds_since(instant_ns: int, facts: Facts) -> float:
    return round((facts.clock.raw_ns - instant_ns) / SECOND_NS, 1)


def _utc(clock: ClockReading, ago_ns: int) -> str:
    """Return an instant as the wall clock has it now."""
    instant = datetime.fromtimestamp((clock.utc_ns - ago_ns) // SECOND_NS, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
