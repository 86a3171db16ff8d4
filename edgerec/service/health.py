"""Is everything as it should be, and if not, what is wrong and what is to be done about it?

Pure: facts in, reasons out. Each rule has one place, and its threshold a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from edgerec.audio import TrackName
from edgerec.capture.source_state import SourceState
from edgerec.service.writer_loop import WritingState
from edgerec.store.cleanup import Space

HealthName = Literal["ok", "degraded", "failed"]
HEALTH_NAMES: Final[tuple[HealthName, ...]] = get_args(HealthName)

_SECOND_NS: Final = 1_000_000_000
STARTS_NS: Final = 15 * _SECOND_NS
"""Until then a device that has not delivered is only slow: a child may take 10 s to open one."""
LEAST_HOURS_LEFT: Final = 24.0  # somebody has a working day to come and look


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the service is not as it should be."""

    code: str
    """A word for programs."""
    track: TrackName | None
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the service is."""

    state: HealthName
    """`degraded`: something is wrong, and it records. `failed`: nothing of it reaches the disk."""
    reasons: tuple[Reason, ...]


def judge(
    sources: Mapping[TrackName, SourceState],
    writing: WritingState,
    space: Space | None,
    warnings: tuple[Reason, ...],
    now_ns: int,
    *,
    turns_trouble: str | None = None,
) -> Health:
    """Return how the service is.

    Parameters
    ----------
    sources
        Of the tracks that have one.
    warnings
        Of the audio itself, and of what is around the recorder.
    turns_trouble
        Why turns are no longer found; None: they are, or are not looked for.
    """
    silent = list(_silent_tracks(sources, now_ns))
    reasons = (*silent, *_storage(writing, space), *warnings, *_turns(turns_trouble))
    nothing_comes = bool(sources) and len(silent) == len(sources)
    if nothing_comes or (writing.trouble is not None and writing.lost_frames > 0):
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


def _storage(writing: WritingState, space: Space | None) -> Iterator[Reason]:
    if writing.trouble is not None:
        yield Reason(
            "disk",
            None,
            f"nothing can be written: {writing.trouble}",
            "it goes on in memory for storage.stall_seconds; then audio is lost",
        )
    if space is not None and space.hours_left < LEAST_HOURS_LEFT:
        yield Reason(
            "space",
            None,
            f"room for {space.hours_left:.1f} more hours of recording",
            "see that the sync job fetches files, or give `retention` less to keep",
        )


def _turns(trouble: str | None) -> Iterator[Reason]:
    if trouble is not None:
        yield Reason(
            "turns",
            None,
            f"turns are no longer found in this session: {trouble}",
            "`edgerec doctor` says what detectors need; the next session tries again",
        )
