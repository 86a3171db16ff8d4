"""Measures what is published, and deletes the files that retention does not keep.

Works through one day's folder after the other, a few files at a time: a year of recordings is a
million files, and the thread that deletes them also writes the audio. Memory is kept per folder,
not per file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgerec.audio import Stamp
from edgerec.clock import SECOND_NS
from edgerec.stamps import AgeClock
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.records.naming import AUDIO_SUFFIXES, SIDECAR_SUFFIX, partition
from edgerec.store.retention.inventory import (
    ACK_SUFFIX,
    Skipped,
    day_folders,
    kiosk_folders,
    stored_in,
)
from edgerec.store.retention.plan import (
    Demand,
    Quota,
    StorageUsage,
    Stored,
    deletions,
    demand_of,
    hours_left,
    short_of_files,
)
from edgerec.store.root import StorageRoot

log = logging.getLogger(__name__)

FILES_A_STEP: Final = 50  # 10 ms on a Raspberry Pi, four times a second
SWEEP_NS: Final = 60 * SECOND_NS  # from the end of one complete scan to the next
AGAIN_NS: Final = 8 * SECOND_NS  # the same after trouble, doubling: it may be over soon
ROOM_NS: Final = 2 * SECOND_NS  # between two looks at the free space alone: one call


@dataclass(frozen=True, slots=True)
class Space:
    """Free and used space as of the last complete scan."""

    free_bytes: int
    stored_bytes: int
    unacknowledged_bytes: int
    hours_left: float
    """Hours of recording until files that no sync job has fetched fill the space."""
    short_files: int = 0
    """Number of missing inodes, see `plan.short_of_files`."""


@dataclass(slots=True)
class _Shelf:
    """The files of one session in one folder."""

    folder: Path
    session: str
    session_number: int
    first_sequence: int
    acknowledged: bool = False
    """Whether some of it is acknowledged."""
    orphans: bool = False
    """Whether it holds orphans: sidecars whose audio was taken away."""
    has_audio: bool = False
    has_record: bool = False
    """Whether it holds the record that closes the session."""

    def add(self, file: Stored) -> None:
        """Take note of one of its files."""
        self.session_number = max(self.session_number, file.session_number)
        self.first_sequence = min(self.first_sequence, file.sequence)
        self.acknowledged |= file.acknowledged
        self.orphans |= file.orphan
        self.has_audio |= not (file.orphan or file.is_record)
        self.has_record |= file.is_record

    def concerns(self, demand: Demand) -> bool:
        """Whether any of it may have to be deleted, judging its age by the folder's name."""
        limits = [demand.ended_before_ns, demand.orphans_before_ns if self.orphans else None]
        latest_ns = max((limit for limit in limits if limit is not None), default=None)
        return demand.room or (
            latest_ns is not None and self.folder.name <= partition("", latest_ns)[1]
        )


class Cleanup:
    """Keeps a storage root within its quota; for the writer thread, a little at a time.

    Parameters
    ----------
    bytes_per_s
        Rate at which recording writes, for the forecast.
    """

    def __init__(
        self, root: StorageRoot, quota: Quota, *, bytes_per_s: float, stamp_now: Callable[[], Stamp]
    ) -> None:
        self._root = root
        self._quota = quota
        self._bytes_per_s = bytes_per_s
        self._stamp_now = stamp_now
        self._age_clock = AgeClock()
        self._sweep: Iterator[int] | None = None
        self._next_ns: int | None = None
        self._wait_ns = AGAIN_NS
        self._next_room_ns = 0
        self._lacked_room = False
        self._skipped = Skipped()
        self._stored_bytes = 0
        self._kept_bytes = 0
        self.space: Space | None = None
        """Space as of the last complete scan; None before the first."""
        self.trouble: str | None = None
        """What the last complete scan had to skip; None: nothing."""

    def adjust(self, quota: Quota, *, bytes_per_s: float) -> None:
        """Change the quota from the next complete scan on; for any thread."""
        self._quota = quota
        self._bytes_per_s = bytes_per_s

    def step(self, now_ns: int) -> None:
        """Look at a few files, or delete them; `now_ns` is on CLOCK_MONOTONIC_RAW."""
        if self._sweep is None:
            is_due = self._next_ns is None or now_ns >= self._next_ns
            if not is_due and not self._has_filled_up(now_ns):
                return
            self._skipped = Skipped()
            self._sweep = self._look_at_everything()
        try:
            files = 0
            while files < FILES_A_STEP:
                files += next(self._sweep)
        except StopIteration:
            pass
        except StoreError as error:
            self._skipped.note(error.path, error.problem)
        else:
            return
        self._sweep = None
        troubled = self._skipped.told is not None
        self._next_ns = now_ns + (self._wait_ns if troubled else SWEEP_NS)
        self._wait_ns = min(2 * self._wait_ns, SWEEP_NS) if troubled else AGAIN_NS
        self._next_room_ns = now_ns + ROOM_NS
        if self._skipped.told is not None and self.trouble is None:
            log.error("retention can't handle entries under ready/ entries=%r", self._skipped.told)
        self.trouble = self._skipped.told

    def _has_filled_up(self, now_ns: int) -> bool:
        """Check only the free space, every `ROOM_NS`; return whether it has become too little.

        Memory holds half a minute of audio: room can't wait for the next complete scan.
        """
        lacked_room = self._lacked_room
        if now_ns >= self._next_room_ns and self.space is not None:
            self._next_room_ns = now_ns + ROOM_NS
            with suppress(StoreError):  # the next complete scan notes it
                self._tell_space()
        return self._lacked_room and not lacked_room

    def _look_at_everything(self) -> Iterator[int]:
        """Count all files, then delete those that retention does not keep.

        Yields how many files it has handled; a folder, which has to be listed, is worth a step.
        """
        shelves: dict[tuple[Path, str], _Shelf] = {}
        stored_bytes = kept_bytes = 0
        for folder in day_folders(self._root.ready, self._skipped):
            with self._skipped.step(folder):
                for file in stored_in(folder):
                    shelf = _Shelf(folder, file.session, file.session_number, file.sequence)
                    shelves.setdefault((folder, file.session), shelf).add(file)
                    stored_bytes += file.bytes
                    kept_bytes += 0 if file.acknowledged else file.bytes
                    yield 1
            yield FILES_A_STEP
        self._stored_bytes, self._kept_bytes = stored_bytes, kept_bytes
        in_order = sorted(
            shelves.values(), key=lambda shelf: (shelf.session_number, shelf.first_sequence)
        )
        acknowledged = [shelf for shelf in in_order if shelf.acknowledged]
        yield from self._delete(acknowledged, keep_unacknowledged=True)
        if not self._quota.keep_unacknowledged:
            yield from self._delete(in_order, keep_unacknowledged=False)
        yield from self._delete_records(in_order)
        self._remove_empty_folders()
        self._tell_space()

    def _delete(self, shelves: Sequence[_Shelf], *, keep_unacknowledged: bool) -> Iterator[int]:
        for shelf in shelves:
            demand = self._demand()
            if not shelf.concerns(demand):
                continue
            files = []
            with self._skipped.step(shelf.folder):
                for file in stored_in(shelf.folder, shelf.session):
                    files.append(file)
                    yield 1
            for _ in deletions(
                files, demand, keep_unacknowledged=keep_unacknowledged, delete=self._delete_file
            ):
                yield 1
            yield FILES_A_STEP

    def _delete_records(self, shelves: Sequence[_Shelf]) -> Iterator[int]:
        """Delete records of sessions a day after their end, once all audio of them is gone.

        A sync job that takes nothing but audio never acknowledges them.
        """
        sounding = {shelf.session for shelf in shelves if shelf.has_audio}
        before_ns = self._demand().orphans_before_ns
        for shelf in shelves:
            if not shelf.has_record or shelf.session in sounding or before_ns is None:
                continue
            for file in stored_in(shelf.folder, shelf.session):
                ended_ns = file.ended_utc_ns
                if file.is_record and ended_ns is not None and ended_ns < before_ns:
                    self._kept_bytes -= 0 if file.acknowledged else file.bytes
                    self._delete_file(replace(file, acknowledged=True))
            yield FILES_A_STEP

    def _tell_space(self) -> None:
        usage = self._usage()
        self._lacked_room = demand_of(self._quota, usage, None).room
        hours = hours_left(
            self._quota,
            usage.free_bytes,
            self._stored_bytes - self._kept_bytes,
            self._kept_bytes,
            self._bytes_per_s,
        )
        self.space = Space(
            usage.free_bytes, self._stored_bytes, self._kept_bytes, hours, usage.short_files
        )

    def _demand(self) -> Demand:
        return demand_of(self._quota, self._usage(), self._age_clock.utc_ns(self._stamp_now()))

    def _delete_file(self, file: Stored) -> bool:
        """Delete a file, its sidecar and its acknowledgement; return whether all are gone."""
        if not file.acknowledged:
            log.warning(
                "deleting a recording that no sync job has fetched file=%s bytes=%d",
                file.path.stem,
                file.bytes,
            )
        with self._skipped.step(file.path):
            # The sidecar last: what a crash leaves of the file is then an acknowledged one.
            for suffix in (*sorted(AUDIO_SUFFIXES), ACK_SUFFIX, SIDECAR_SUFFIX):
                path = file.path.with_suffix(suffix)
                with disk_step("deleting", path):
                    path.unlink(missing_ok=True)
            self._stored_bytes -= file.bytes
            self._kept_bytes -= 0 if file.acknowledged else file.bytes
            return True
        return False

    def _remove_empty_folders(self) -> None:
        """Remove the folders of days, and of kiosks, in which nothing is left."""
        ready, known = self._root.ready, Skipped()  # noted already
        for folder in (*day_folders(ready, known), *kiosk_folders(ready, known)):
            with self._skipped.step(folder), disk_step("removing", folder):
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _usage(self) -> StorageUsage:
        with disk_step("asking for the free space of", self._root.path):
            system = os.statvfs(self._root.path)
        return StorageUsage(
            self._stored_bytes,
            system.f_bavail * system.f_frsize,
            short_of_files(system.f_files, system.f_favail),
        )
