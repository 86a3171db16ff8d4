"""The storage root: its folders, its lock, and the counter of sessions."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Self

from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.mount import check_mounted
from edgerec.store.ownership import RootHeldError as RootHeldError
from edgerec.store.ownership import check_company, check_owner, release_lock, take_lock
from edgerec.store.records.naming import Session
from edgerec.validation.bounded_json import JsonError, read_bounded, read_json
from edgerec.validation.constraints import Between
from edgerec.validation.typed import from_plain

WORK: Final = ".work"
STATE: Final = ".state"
READY: Final = "ready"
QUARANTINE: Final = "quarantine"

_LOCK: Final = "lock"
_COUNTER: Final = "session.json"
_ID: Final = "root-id"
_MAX_ID_BYTES: Final = 64
_MAX_COUNTER_BYTES: Final = 4096
_MAX_NUMBER: Final = 10**12 - 1  # a session a second for as long as there were people

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Counter:
    """Number and id of the last session."""

    number: Annotated[int, Between(1, _MAX_NUMBER)]
    session: str


def is_published_here(folder: Path) -> bool:
    """Tell whether a folder of published files belongs to a storage root, not to an archive.

    Raises
    ------
    StoreError
        It, or what is around it, can't be looked at.
    """
    with disk_step("looking at", folder):
        resolved = folder.resolve()
    return any(
        # Nobody else may look into it.
        ready.name == READY and disk.is_folder(ready.parent / STATE, follow_links=True)
        for path in (folder.absolute(), resolved)
        for ready in (path, *path.parents)
    )


class StorageRoot:
    """A folder of recordings that one process at a time may write.

    A context manager: holds the lock inside.

    Parameters
    ----------
    path
        Made by `acquire` when it is missing, unless it must exist; its parent must exist.
    require_mount
        Whether it must be on another file system than `/`.
    must_exist
        Whether to refuse a missing one instead of making it: for a reader, its path is a typing
        error.
    """

    def __init__(
        self, path: Path, *, require_mount: bool = False, must_exist: bool = False
    ) -> None:
        self.path = path
        self._must_exist = must_exist
        self._require_mount = require_mount
        self.work = path / WORK
        self.state = path / STATE
        self.ready = path / READY
        self.quarantine = path / QUARANTINE
        self.open_sessions: set[str] = set()
        """Ids of the sessions being recorded, whose files in the work folder are not leftovers.
        Written by one thread; `in` is for any."""
        self._lock: int | None = None
        self._checking = threading.Lock()
        self._id = b""
        self._counter: tuple[int, str | None] | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Make the folders and take the lock.

        Raises
        ------
        RootHeldError
            Another process has the lock; nothing was touched.
        StoreError
            The folders can't be made or written, or their disk is not mounted, or they are on two,
            or are another user's and this is root; or there is none, or there are other things.
        """
        check_mounted(self.path, require_mount=self._require_mount)
        if self._must_exist and not disk.is_folder(self.state, follow_links=True):
            raise StoreError(
                "using", self.path, "nothing was ever recorded there; see storage.root"
            )
        if disk.look_at(self.path.parent) is None:
            raise StoreError(
                "making the folder", self.path, f"there is no {self.path.parent}; make it first"
            )
        disk.make_folders(self.path.parent, self.path.name)
        check_owner(self.path)
        if not disk.is_there(self.state):
            check_company(self.path)
        disk.make_private(self.state)
        self._lock = take_lock(self.state / _LOCK)
        disk.make_private(self.work)
        for folder in (self.ready, self.quarantine):
            try:
                disk.make_folders(self.path, folder.name)
            except StoreError as error:  # recording takes no more than the work folder
                _log.error("a folder can't be made yet why=%r", str(error))
            disk.check_movable(self.work, folder)
        self._id = self._read_id() or self._new_id()

    def check(self) -> None:
        """Make sure that the folder at `path` is still the one that was acquired.

        A disk that was removed leaves its empty mount point; one that has come back is locked
        again.

        Raises
        ------
        StoreError
            It is not, or another process has taken the lock.
        """
        with self._checking:
            self._check()

    def make_folders(self, *names: str) -> Path:
        """Make a folder of `ready/`, and that itself if somebody has taken it away; durably.

        Raises
        ------
        StoreError
            It can't be made, or the folder at `path` is not the one that was acquired.
        """
        if not disk.is_folder(self.ready, follow_links=True):
            self.check()  # or the disk below a mount point is filled
            disk.make_folders(self.path, READY)
        return disk.make_folders(self.ready, *names)

    def make_quarantine(self) -> None:
        """Make the quarantine folder, if somebody has taken it away; durably.

        Raises
        ------
        StoreError
            It can't be made, or the folder at `path` is not the one that was acquired.
        """
        if not disk.is_folder(self.quarantine, follow_links=True):
            self.check()
            disk.make_folders(self.path, QUARANTINE)

    def _check(self) -> None:
        assert self._lock is not None
        path = self.state / _LOCK
        with disk_step("looking at", path):
            here, held = path.stat(), os.fstat(self._lock)
        if (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino):
            return
        if self._read_id() != self._id:
            raise StoreError(
                "using", self.path, "it is not the folder it was; is its disk still mounted?"
            )
        anew = take_lock(path)
        release_lock(self._lock)
        self._lock = anew

    def _read_id(self) -> bytes:
        """Return the id of this storage root; empty where it can't be read."""
        with suppress(OSError):
            return read_bounded(self.state / _ID, _MAX_ID_BYTES)
        return b""

    def _new_id(self) -> bytes:
        fresh = secrets.token_hex(8).encode() + b"\n"
        disk.replace(self.state / _ID, fresh)
        return fresh

    def release(self) -> None:
        """Let the next process in; the lock also ends with the process."""
        if self._lock is not None:
            release_lock(self._lock)
            self._lock = None

    def leave_session(self, session: Session) -> None:
        """Leave what the work folder still has of a session to recovery."""
        self.open_sessions.discard(session.id)

    def open_session(self, kiosk: str) -> Session:
        """Return the next session of this storage root, its number durably reserved.

        Where that can't be written, a later session may have the same number, but never the same
        id.
        """
        last, previous = self._last_session()
        session = Session(secrets.token_hex(4), last + 1, previous, kiosk)
        self._counter = (session.number, session.id)
        self.open_sessions.add(session.id)
        try:
            counter = json.dumps({"number": session.number, "session": session.id})
            disk.replace(self.state / _COUNTER, counter.encode() + b"\n")
        except StoreError as error:
            _log.error("the number of a session can't be saved why=%r", str(error))
        return session

    def _last_session(self) -> tuple[int, str | None]:
        if self._counter is not None:
            return self._counter
        path = self.state / _COUNTER
        try:
            last = read_json(path, partial(from_plain, _Counter), max_bytes=_MAX_COUNTER_BYTES)
        except JsonError as error:
            if not error.missing:
                # Its loss costs a number; refusing to start would cost the recordings.
                aside = self._set_aside(path)
                _log.warning(
                    "session counter is malformed, counting from 1 again path=%s error=%s",
                    aside,
                    error,
                )
            return 0, None
        return last.number, last.session

    def _set_aside(self, path: Path) -> Path:
        """Move what can't be understood to quarantine, or at least out of the way."""
        aside = self.quarantine / f"{path.name}.{secrets.token_hex(4)}"
        try:
            disk.move(path, aside)
        except StoreError:  # such as a folder that is not ours
            with suppress(StoreError):
                return disk.put_aside(path)
            return path
        return aside
