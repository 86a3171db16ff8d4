"""Which published files are to go, and for how long is there room?

Decides only: `cleanup` knows what is there and deletes. Acknowledged files go first, the oldest
before the others; one that no sync job has fetched goes only where the configuration allows it,
and only when nothing else is left. The order is that of recording, whatever the wall clock has
said at the time, and a file of which nobody knows how old it is does not go for its age.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECOND_NS: Final = 1_000_000_000
ORPHAN_KEPT_NS: Final = 86_400 * _SECOND_NS
"""A sidecar whose audio was taken away is left for a day: the sync job may come for it too."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the configuration allows."""

    max_age_ns: int | None
    max_bytes: int | None
    min_free_bytes: int
    keep_unacknowledged: bool
    reserve_bytes: int
    """Of what is allowed, for files in progress."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A published file with its sidecar, or what is left of the two."""

    path: Path
    """Of the sidecar, whether it is there or not."""
    session: str
    session_number: int
    sequence: int
    bytes: int
    """Together."""
    acknowledged: bool
    orphan: bool = False
    """Acknowledged by taking the audio away: the sidecar is left."""
    ended_utc_ns: int | None = None
    """When its last frame was recorded; None: the wall clock was not known then."""
    start_frame: int = 0
    """In its session: chunks and turns are numbered each by themselves."""
    is_record: bool = False
    """Closes a session, and has no audio of its own."""

    @property
    def order(self) -> tuple[bool, int, int, int]:
        """What goes first comes first."""
        return not self.acknowledged, self.session_number, self.start_frame, self.sequence


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be achieved."""

    bytes: int
    """To be freed."""
    ended_before_ns: int | None
    """Files that ended before this instant are too old; None: none is."""
    orphans_before_ns: int | None
    """The same of sidecars whose audio was taken away."""


def demand_of(quota: Quota, stored_bytes: int, free_bytes: int, utc_now_ns: int | None) -> Demand:
    """Return what is to be achieved as things stand.

    Parameters
    ----------
    stored_bytes
        Of all published files.
    free_bytes
        Of the file system, for the service's user.
    utc_now_ns
        None: nobody knows, and nothing is too old.
    """
    short_bytes = quota.min_free_bytes + quota.reserve_bytes - free_bytes
    if quota.max_bytes is not None:
        short_bytes = max(short_bytes, stored_bytes + quota.reserve_bytes - quota.max_bytes)
    ended_before_ns = orphans_before_ns = None
    if utc_now_ns is not None:
        orphans_before_ns = utc_now_ns - ORPHAN_KEPT_NS
        if quota.max_age_ns is not None:
            ended_before_ns = utc_now_ns - quota.max_age_ns
    return Demand(max(short_bytes, 0), ended_before_ns, orphans_before_ns)


def plan_deletions(
    files: Iterable[Stored], demand: Demand, *, keep_unacknowledged: bool
) -> list[Stored]:
    """Return what is to go: all that is too old, and no more of the rest than is demanded."""
    may_go = sorted(
        (file for file in files if file.acknowledged or not keep_unacknowledged),
        key=lambda file: file.order,
    )
    plan = [file for file in may_go if _too_old(file, demand)]
    freed_bytes = sum(file.bytes for file in plan)
    for file in may_go:
        if freed_bytes >= demand.bytes:
            break
        if not _too_old(file, demand):
            plan.append(file)
            freed_bytes += file.bytes
    return plan


def _too_old(file: Stored, demand: Demand) -> bool:
    limits = [demand.ended_before_ns]
    if file.orphan:
        limits.append(demand.orphans_before_ns)
    ended_ns = file.ended_utc_ns
    return ended_ns is not None and any(
        limit_ns is not None and ended_ns < limit_ns for limit_ns in limits
    )


def hours_left(
    quota: Quota, free_bytes: int, acknowledged_bytes: int, kept_bytes: int, bytes_per_s: float
) -> float:
    """Return for how many hours can be recorded before what no sync job has fetched is in the way.

    Parameters
    ----------
    acknowledged_bytes, kept_bytes
        Of the published files that may go at any time, and of the others.
    bytes_per_s
        That recording writes.
    """
    room_bytes = free_bytes - quota.min_free_bytes + acknowledged_bytes
    if quota.max_bytes is not None:
        room_bytes = min(room_bytes, quota.max_bytes - kept_bytes)
    return max(room_bytes - quota.reserve_bytes, 0) / bytes_per_s / 3600
