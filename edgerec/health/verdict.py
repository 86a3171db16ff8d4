"""Judges the service's health: facts in, a state and its reasons out, each with what to do.

Pure. Each rule is in one place, and each threshold has a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from edgerec.audio import SourceState, TrackName
from edgerec.clock import SECOND_NS
from edgerec.health.reports import WritingState
from edgerec.session.backlog import Backlog
from edgerec.store.retention.cleanup import Space

HealthName = Literal["ok", "degraded", "failed"]
HEALTH_NAMES: Final[tuple[HealthName, ...]] = get_args(HealthName)

STARTS_NS: Final = 15 * SECOND_NS
"""Time until a device that has not delivered is missing: a child may take 10 s to open one."""
LEAST_HOURS_LEFT: Final = 24.0  # somebody has a working day to come and look


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why the service is not ok."""

    code: str
    """Code of the reason, for programs."""
    track: TrackName | None
    why: str
    hint: str


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
class Health:
    """State of the service, with its reasons."""

    state: HealthName
    """State in a word. `degraded`: something is wrong, but it records. `failed`: no track delivers,
    or audio is being lost because it does not reach the disk."""
    reasons: tuple[Reason, ...]


def judge(
    sources: Mapping[TrackName, SourceState],
    writing: Writing,
    space: Space | None,
    warnings: tuple[Reason, ...],
    now_ns: int,
    *,
    turns_trouble: str | None = None,
    retention_trouble: str | None = None,
    hook_trouble: str | None = None,
) -> Health:
    """Return the service's health.

    Parameters
    ----------
    sources
        State of each track's source.
    warnings
        Warnings about the audio itself, and about what surrounds the recorder.
    turns_trouble
        Reason why turns are no longer found; None: they are, or detection is off.
    retention_trouble
        What retention has to skip under `ready/`, and why; None: nothing.
    hook_trouble
        Hooks that failed at their last run, and why; None: none.
    """
    silent = list(_silent_tracks(sources, now_ns))
    reasons = (
        *silent,
        *_storage(writing, space),
        *_retention(retention_trouble),
        *warnings,
        *_turns(turns_trouble),
        *_hooks(hook_trouble),
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
