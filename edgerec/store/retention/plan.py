"""Decides which published files to delete, and for how long there is room.

Pure decisions: `cleanup` knows what is there and deletes. Acknowledged files go first, the oldest
first; one that no sync job has fetched goes only if the configuration allows it, and only when
nothing else is left. The order is that of recording, whatever the wall clock said at the time, and
a file of unknown age is not deleted for its age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.clock import SECOND_NS

FREE_FILES: Final = 256
"""Number of inodes kept free, or a twentieth of all where there are few: enough for a minute of
one-second chunks with turns and separate tracks, each with a sidecar."""
ORPHAN_KEPT_NS: Final = 86_400 * SECOND_NS
"""Time a sidecar is kept after its audio was taken away: the sync job may fetch it, too."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits that the configuration sets."""

    max_age_ns: int | None
    max_bytes: int | None
    min_free_bytes: int
    keep_unacknowledged: bool
    reserve_bytes: int
    """Bytes of the allowed space that are reserved for files in progress."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A published file with its sidecar, or what is left of the two."""

    path: Path
    """Path of the sidecar, whether it exists or not."""
    session: str
    session_number: int
    sequence: int
    bytes: int
    """Size of all its files together."""
    acknowledged: bool
    orphan: bool = False
    """Whether it was acknowledged by taking the audio away, so that the sidecar is left."""
    ended_utc_ns: int | None = None
    """Time of its last frame; None: the wall clock was not known then."""
    files: int = 1
    """Number of its files; each takes an inode."""
    start_frame: int = 0
    """First frame in its session, for the order: chunks and turns are numbered separately."""
    is_record: bool = False
    """Whether it is a session's closing record, which has no audio of its own."""

    @property
    def order(self) -> tuple[bool, int, int, int]:
        """Sort key: what is deleted first comes first."""
        return not self.acknowledged, self.session_number, self.start_frame, self.sequence


@dataclass(frozen=True, slots=True)
class Demand:
    """The amounts to be freed, and the ages to be deleted."""

    bytes: int
    """Number of bytes to be freed."""
    ended_before_ns: int | None
    """Instant before which files that ended are too old; None: no file is."""
    orphans_before_ns: int | None
    """The same instant for sidecars whose audio was taken away."""
    files: int = 0
    """Number of inodes to be freed."""

    @property
    def room(self) -> bool:
        """Whether room is to be made."""
        return self.bytes > 0 or self.files > 0


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """Space in use and free."""

    stored_bytes: int
    """Size of all published files."""
    free_bytes: int
    """Free space of the file system, for the service's user."""
    short_files: int = 0
    """Number of inodes the service lacks, see `short_of_files`."""


def short_of_files(total: int, free: int) -> int:
    """Return how many inodes the service lacks to continue.

    Parameters
    ----------
    total, free
        The values of statvfs(3); a `total` of 0 means that the file system makes them as needed.
    """
    return max(min(total // 20, FREE_FILES) - free, 0) if total else 0


def demand_of(quota: Quota, usage: StorageUsage, utc_now_ns: int | None) -> Demand:
    """Return what is to be achieved as things stand.

    Parameters
    ----------
    utc_now_ns
        Current time; None: unknown, and nothing is too old.
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
        Returns whether a file is gone; if one can't be deleted, the next one is.
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
    """Return the hours of recording until files that no sync job has fetched are in the way.

    Parameters
    ----------
    acknowledged_bytes, kept_bytes
        Size of the published files that may be deleted at any time, and of the others.
    bytes_per_s
        Rate at which recording writes.
    """
    room_bytes = free_bytes - quota.min_free_bytes + acknowledged_bytes
    if quota.max_bytes is not None:
        room_bytes = min(room_bytes, quota.max_bytes - kept_bytes)
    return max(room_bytes - quota.reserve_bytes, 0) / bytes_per_s / 3600
