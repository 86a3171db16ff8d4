"""The lock that keeps a second recorder out of a storage root."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step

_LOCK_MODE: Final = 0o600
_TRY_S: Final = 0.05
_TRIES: Final = 100  # to get what a dead process still holds
_MAX_PID_CHARS: Final = 20  # 64 bits in decimal
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class RootHeldError(StoreError):
    """Another process records or recovers here.

    Attributes
    ----------
    pid
        Id of the process that holds the storage root; "" until it has written it down.
    """

    def __init__(self, path: Path, pid: str) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            "locking", path, f"{holder} holds it; stop that one first, or give storage.root another"
        )
        self.pid = pid


def take_lock(path: Path) -> int:
    """Return a descriptor that holds the lock until it is closed.

    Raises
    ------
    RootHeldError
        Another process has it.
    StoreError
        The disk fails.
    """
    found = disk.look_at(path, follow_links=False)
    if found is not None and not stat.S_ISREG(found.st_mode):
        disk.put_aside(path)
    with disk_step("opening", path):
        fd = os.open(path, _LOCK_FLAGS, _LOCK_MODE)
    try:
        _take(fd, path)
    except StoreError:
        os.close(fd)  # or this process would keep itself out
        raise
    return fd


def _take(fd: int, path: Path) -> None:
    with disk_step("locking", path):
        if not _has_taken(fd):
            pid = os.pread(fd, _MAX_PID_CHARS, 0).decode("ascii", "replace").strip()
            raise RootHeldError(path, pid)
    with disk_step("writing", path):
        # Always as long, and in place: a full disk does not keep the holder from saying who it is.
        os.pwrite(fd, f"{os.getpid():<{_MAX_PID_CHARS}}\n".encode(), 0)


def _has_taken(fd: int) -> bool:
    """Take the lock; return whether it could be had.

    A process that was killed while it started another one leaves the lock to that, until it has
    closed what it inherited: a moment, unless the machine is busy.
    """
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if _is_running(os.pread(fd, _MAX_PID_CHARS, 0)):
            return False
        time.sleep(_TRY_S)
    return False


def _is_running(pid: bytes) -> bool:
    """Tell whether the process that wrote its number still exists; True where there is none."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True
