"""Makes the status of what the parts of a recorder report.

In the calling thread, from values that the threads of the recording replace as a whole; nothing
waits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from edgerec.audio import TRACKS, GapReason, TrackName, TrackReport
from edgerec.clock import SECOND_NS, ClockReading
from edgerec.health.status import (
    ClockStatus,
    GapsSoFar,
    LastFile,
    LeftoverFile,
    Leftovers,
    MemoryStatus,
    Status,
    StorageStatus,
    TapCounts,
    TrackStatus,
)
from edgerec.health.verdict import MAX_TOLD, Facts, LastPublished, judge
from edgerec.session.timeline import SessionTimeline
from edgerec.version import __version__

_LOSSES: Final = (GapReason.XRUN, GapReason.OVERRUN)


def status_of(facts: Facts) -> Status:
    """Return the status as of now."""
    timeline, clock, health = facts.timeline, facts.clock, judge(facts)
    recording = timeline is not None and timeline.stop is None
    seconds = 0.0 if timeline is None else timeline.history.committed / timeline.rate
    return Status(
        version=__version__,
        kiosk=facts.kiosk,
        state=health.state,
        reasons=health.reasons,
        activity=facts.activity,
        recording=recording,
        session_seconds=round(seconds, 3) if recording else None,
        sample_rate=timeline.rate if timeline is not None else None,
        uptime_seconds=_seconds_since(facts.started_ns, clock),
        tracks={name: _track(name, facts) for name in TRACKS},
        echo=facts.echo.status,
        storage=_storage(facts, recording=recording),
        last_published=_last_file(facts.last_published, clock),
        clock=ClockStatus(_utc(clock, 0), clock.utc_trusted, clock.utc_error_ms),
        memory=MemoryStatus(facts.usage.pss_bytes, facts.usage.rss_bytes),
        cpu_seconds=facts.usage.cpu_seconds,
        processes=facts.usage.processes,
        hooks=facts.hooks,
        taps=TapCounts(facts.taps, facts.taps_lost_blocks),
    )


def _track(name: TrackName, facts: Facts) -> TrackStatus:
    source = facts.sources.get(name)
    if source is None:
        return TrackStatus()
    reports = facts.timeline.known() if facts.timeline is not None else {}
    report = reports.get(name, TrackReport())
    levels, gaps = facts.heard.levels[name], facts.heard.gaps[name]
    return TrackStatus(
        state=source.name,
        since=_utc(facts.clock, facts.clock.raw_ns - source.since_ns),
        for_seconds=_seconds_since(source.since_ns, facts.clock),
        detail=source.detail,
        device=report.device,
        drift_ppm=report.drift_ppm,
        residual_us=report.residual_us,
        echo_delay_ms=report.echo.delay_ms,
        echo_return_db=report.echo.return_db,
        peak_dbfs=levels.peak_dbfs,
        rms_dbfs=levels.rms_dbfs,
        clipped=levels.clipped,
        gaps={reason.label: GapsSoFar(total.count, total.frames) for reason, total in gaps.items()},
        xruns=sum(gaps[reason].count for reason in _LOSSES if reason in gaps),
        late_frames=report.late_frames,
        refused_frames=report.refused_frames,
        fed=source.fed,
        restarts=source.restarts,
        turn=_turn(name, facts.timeline),
    )


def _turn(name: TrackName, timeline: SessionTimeline | None) -> int | None:
    """Return the number of the turn that a speaker has now."""
    if timeline is None or timeline.turns is None:
        return None
    parts = timeline.turns.pending(name)
    goes_on = bool(parts) and parts[-1].ended in (None, "full")
    return parts[-1].number if goes_on else None


def _storage(facts: Facts, *, recording: bool) -> StorageStatus:
    writing, space = facts.writing, facts.space
    state, backlog, left = writing.state, writing.backlog, facts.recovery.left
    return StorageStatus(
        free_bytes=space.free_bytes if space else None,
        stored_bytes=space.stored_bytes if space else None,
        unacknowledged_bytes=space.unacknowledged_bytes if space else None,
        hours_left=round(space.hours_left, 1) if space else None,
        unpublished=state.unpublished,
        unpublishable=state.unpublishable,
        leftovers=Leftovers(
            waiting=len(left),
            files=tuple(LeftoverFile(file, why) for file, why in left[:MAX_TOLD]),
            quarantined=(*facts.recovery.quarantined, *state.quarantined),
        ),
        writer_lag_seconds=round(backlog.lag_s, 3),
        captured_age_seconds=_captured_age_s(facts) if recording else None,
        durable_age_seconds=_age_s(backlog.waits_since_ns, facts.clock),
        lost_frames=backlog.lost_frames,
        trouble=writing.trouble,
        trouble_for_seconds=_trouble_for_s(facts),
    )


def _captured_age_s(facts: Facts) -> float | None:
    """Return how long ago the newest frame of the session was captured."""
    timeline = facts.timeline
    if timeline is None:
        return None
    return _age_s(timeline.stamp_of(timeline.history.committed).monotonic_ns, facts.clock)


def _trouble_for_s(facts: Facts) -> float | None:
    """Return since when the disk takes nothing."""
    if facts.writing.state.trouble is not None:
        return _seconds_since(facts.writing.state.since_ns, facts.clock)
    if facts.writing.trouble is not None:
        return _age_s(facts.writing.backlog.waits_since_ns, facts.clock)
    return None


def _age_s(monotonic_ns: int | None, clock: ClockReading) -> float | None:
    """Return how long ago an instant on CLOCK_MONOTONIC was."""
    if monotonic_ns is None:
        return None
    return round(max(clock.monotonic_ns - monotonic_ns, 0) / SECOND_NS, 1)


def _last_file(last: LastPublished | None, clock: ClockReading) -> LastFile | None:
    if last is None:
        return None
    return LastFile(last.name, last.kind, _seconds_since(last.at_ns, clock))


def _seconds_since(instant_ns: int, clock: ClockReading) -> float:
    return round((clock.raw_ns - instant_ns) / SECOND_NS, 1)


def _utc(clock: ClockReading, ago_ns: int) -> str:
    """Return an instant as the wall clock has it now."""
    instant = datetime.fromtimestamp((clock.utc_ns - ago_ns) // SECOND_NS, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
