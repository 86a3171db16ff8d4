"""Judges the service's health: facts in, a state and its reasons out, each with what to do.

Pure. Each rule is in one place, and each threshold has a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edgerec.audio import SourceState, TrackName
from edgerec.clock import SECOND_NS
from edgerec.health.reports import Facts, RecoveryState, Writing
from edgerec.health.status import HealthName, Reason
from edgerec.store.retention.cleanup import Space

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
