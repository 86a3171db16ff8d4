"""Whose storage is it, and which session comes next: the folders, the lock, the counter."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.mount import check_mounted
from edgerec.store.naming import Session

WORK: Final = ".work"
STATE: Final = ".state"
READY: Final = "ready"
QUARANTINE: Final = "quarantine"

_LOCK: Final = "lock"
_LOCK_MODE: Final = 0o600
_COUNTER: Final = "session.json"
_ID: Final = "root-id"
_MAX_PID_CHARS: Final = 20  # 64 bits in decimal

_log = logging.getLogger(__name__)


class RootHeldError(StoreError):
    """Another process records or recovers here.

    Attributes
    ----------
    pid
        Of the process that holds the storage root; "" while it is still saying so.
    """

    def __init__(self, path: Path, pid: str) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            "locking", path, f"{holder} holds it; stop that one first, or give storage.root another"
        )
        self.pid = pid


def is_published_here(folder: Path) -> bool:
    """Tell whether a folder is one of a storage root's published ones, and no archive's."""
    return any(
        ready.name == READY and (ready.parent / STATE).is_dir()  # nobody else may look into it
        for path in (folder.absolute(), folder.resolve())
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
        It must be on another file system than `/`.
    must_exist
        It is not made: whoever looks for what is there has mistyped the path of one that isn't.
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
        self._lock: int | None = None
        self._id = b""

    def __enter__(self) -> Self:
        """Acquire."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release."""
        self.release()

    def acquire(self) -> None:
        """Make the folders and take the lock.

        Raises
        ------
        RootHeldError
            Another process has the lock; nothing was touched.
        StoreError
            The folders can't be made or written, or their disk is not mounted, or they are on two;
            or there is none.
        """
        check_mounted(self.path, require_mount=self._require_mount)
        if self._must_exist and not self.state.is_dir():
            raise StoreError(
                "using", self.path, "nothing was ever recorded there; see storage.root"
            )
        if not self.path.parent.exists():
            raise StoreError(
                "making the folder", self.path, f"there is no {self.path.parent}; make it first"
            )
        disk.make_folders(self.path.parent, self.path.name)
        disk.make_private(self.state)
        self._lock = _lock(self.state / _LOCK)
        disk.make_private(self.work)
        for name in (READY, QUARANTINE):
            disk.make_folders(self.path, name)
        for folder in (self.ready, self.quarantine):
            disk.check_movable(self.work, folder)

        if not (self.state / _ID).exists():
            disk.replace(self.state / _ID, secrets.token_hex(8).encode() + b"\n")
        self._id = self._read_id()

    def check(self) -> None:
        """Make sure that the folder at `path` is still the one that was acquired.

        A disk that was taken away leaves its mount point behind; one that has come back is
        locked anew.

        Raises
        ------
        StoreError
            It is not, or another process has taken the lock.
        """
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
        anew = _lock(path)
        os.close(self._lock)
        self._lock = anew

    def _read_id(self) -> bytes:
        path = self.state / _ID
        with disk_step("reading", path):
            return path.read_bytes()

    def release(self) -> None:
        """Let the next process in; the lock also ends with the process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open_session(self, kiosk: str) -> Session:
        """Return the next session of this storage root, its number durably used up."""
        last, previous = self._last_session()
        session = Session(secrets.token_hex(4), last + 1, previous, kiosk)
        counter = json.dumps({"number": session.number, "session": session.id})
        disk.replace(self.state / _COUNTER, counter.encode() + b"\n")
        return session

    def _last_session(self) -> tuple[int, str | None]:
        path = self.state / _COUNTER
        try:
            with disk_step("reading", path):
                text = path.read_bytes()
            fields = json.loads(text)
            return int(fields["number"]), str(fields["session"])
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return 0, None
            raise
        except (ValueError, KeyError, TypeError) as error:
            # Its loss costs a number; refusing to start would cost the recordings.
            aside = self.quarantine / f"{_COUNTER}.{secrets.token_hex(4)}"
            disk.move(path, aside)
            _log.warning(
                "session counter is malformed, counting from 1 again path=%s error=%s", aside, error
            )
            return 0, None


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock until it is closed."""
    with disk_step("opening", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _LOCK_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, _MAX_PID_CHARS, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise RootHeldError(path, pid) from None
    with disk_step("writing", path):
        # Always as long, and in place: a full disk does not keep the holder from saying who it is.
        os.pwrite(fd, f"{os.getpid():<{_MAX_PID_CHARS}}\n".encode(), 0)
    return fd
