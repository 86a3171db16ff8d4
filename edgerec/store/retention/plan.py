"""Which published files are to go, and for how long is there room?

Decides only: `cleanup` knows what is there and deletes. Acknowledged files go first, the oldest
before the others; one that no sync job has fetched goes only where the configuration allows it,
and only when nothing else is left. The order is that of recording, whatever the wall clock has
said at the time, and a file of which nobody knows how old it is does not go for its age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECOND_NS: Final = 1_000_000_000
FREE_FILES: Final = 256
"""Inodes that are kept free, or a twentieth of all where there are few: a minute of chunks of one
second, with turns and tracks of their own, each with a sidecar."""
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
    files: int = 1
    """How many there are of it, each taking an inode."""
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
    files: int = 0
    """To be freed: inodes."""

    @property
    def room(self) -> bool:
        """Whether room is to be made."""
        return self.bytes > 0 or self.files > 0


@dataclass(frozen=True, slots=True)
class Usage:
    """How full it is."""

    stored_bytes: int
    """Of all published files."""
    free_bytes: int
    """Of the file system, for the service's user."""
    short_files: int = 0
    """Inodes that are missing for the service to go on, see `short_of_files`."""


def short_of_files(total: int, free: int) -> int:
    """Return how many inodes are missing for the service to go on.

    Parameters
    ----------
    total, free
        As statvfs(3) has them; a `total` of 0 says that the file system makes them as needed.
    """
    return max(min(total // 20, FREE_FILES) - free, 0) if total else 0


def demand_of(quota: Quota, usage: Usage, utc_now_ns: int | None) -> Demand:
    """Return what is to be achieved as things stand.

    Parameters
    ----------
    utc_now_ns
        None: nobody knows, and nothing is too old.
    """
    short_bytes = quota.min_free_bytes + quota.reserve_bytes - usage.free_bytes
    if quota.max_bytes is not None:
        short_bytes = max(short_bytes, usage.stored_bytes + quota.reserve_bytes - quota.max_bytes)
    ended_before_ns = orphans_before_ns = None
    if utc_now_ns is not None:
        orphans_before_ns = utc_now_ns - ORPHAN_KEPT_NS
        if quota.max_age_ns is not None:
            ended_before_ns = utc_now_ns - quota.max_age_ns
    return Demand(max(short_bytes, 0), ended_before_ns, orphans_before_ns, usage.short_files)


def deletions(
    files: Iterable[Stored],
    demand: Demand,
    *,
    keep_unacknowledged: bool,
    delete: Callable[[Stored], bool],
) -> Iterator[Stored]:
    """Delete all that is too old, and no more of the rest than is demanded; yield what was tried.

    Parameters
    ----------
    delete
        Returns whether a file is gone; in place of one that can't be deleted the next one goes.
    """
    may_go = sorted(
        (file for file in files if file.acknowledged or not keep_unacknowledged),
        key=lambda file: (not _too_old(file, demand), file.order),
    )
    freed_bytes = freed_files = 0
    for file in may_go:
        enough = freed_bytes >= demand.bytes and freed_files >= demand.files
        if enough and not _too_old(file, demand):
            return
        if delete(file):
            freed_bytes += file.bytes
            freed_files += file.files
        yield file


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
