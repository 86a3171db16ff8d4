"""Keeps a storage root to one recorder at a time, as its owner, with nothing else beside it.

`take_lock` keeps a second recorder out; `check_owner` keeps root from leaving files that the owner
could not move; `check_company` keeps out of folders that hold other things.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.disk import FILE_MODE, StoreError, disk_step

_LOCK_MODE: Final = 0o600
_TRY_S: Final = 0.05
_TRIES: Final = 100  # to get what a dead process still holds
_MAX_PID_CHARS: Final = 20  # 64 bits in decimal
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


_held: Final[set[int]] = set()
"""Descriptors of the locks of this process."""


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
    """Return a descriptor that holds the lock until `release_lock`, or the end of this process.

    A process forked from this one does not hold it.

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
    _held.add(fd)
    return fd


def release_lock(fd: int) -> None:
    """Let the next process in."""
    _held.discard(fd)
    os.close(fd)


def _release_in_child() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_release_in_child)


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


def check_owner(folder: Path) -> None:
    """Make sure, as root, that what this process creates in a folder belongs to its owner.

    A single `sudo edgerec recover` would make a folder for today that the service can't publish
    into.

    File systems without owners (vfat, exFAT) give all files the same owner: there root may write.

    Raises
    ------
    StoreError
        New files would belong to root, and the folder does not.
    """
    if os.geteuid() != 0:
        return  # the folder's modes say what is allowed
    with disk_step("looking at", folder):
        owner = folder.stat().st_uid
    if owner == 0 or _uid_of_new_files(folder) != 0:
        return
    name = str(owner)
    with suppress(KeyError):
        name = pwd.getpwuid(owner).pw_name
    raise StoreError("using", folder, f"it is {name}'s; do this as that user: sudo -u {name} ...")


def _uid_of_new_files(folder: Path) -> int:
    probe = folder / f".owner-{secrets.token_hex(4)}"
    with disk_step("creating", probe):
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        with disk_step("deleting", probe):
            probe.unlink()


_OWN: Final = frozenset({"ready", "quarantine"})
_OF_SYSTEMS: Final = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})
"""Folders that file systems and other computers leave at the top of a disk."""
_NAMED: Final = 3


def check_company(folder: Path) -> None:
    """Make sure that nothing else is kept in a folder that is to become a storage root.

    A sync job takes everything under `ready/`, `edgerec verify` reads a whole tree, and `git clean`
    in a checkout of sources deletes what git does not know.

    Raises
    ------
    StoreError
        Something is, or the folder can't be looked into.
    """
    if others := others_in(folder):
        raise StoreError(
            "using", folder, f"it holds {others}; give storage.root a folder of its own"
        )


def others_in(folder: Path) -> str:
    """Return what a folder holds that is not edgerec's, in words; empty where that is nothing.

    Hidden entries are not counted: desktops and disks leave theirs in any folder.

    Raises
    ------
    StoreError
        It can't be looked into.
    """
    with disk_step("looking into", folder):
        found = [entry.name for entry in folder.iterdir()]
    names = sorted(
        name for name in found if not name.startswith(".") and name not in _OWN | _OF_SYSTEMS
    )
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(ascii, names[:_NAMED])) + more


def checkout_around(folder: Path) -> Path | None:
    """Return the git checkout that a folder is or lies in, if there is one.

    Raises
    ------
    StoreError
        A folder above may not be looked into.
    """
    above = (folder, *folder.parents)
    return next((one for one in above if disk.is_there(one / ".git")), None)
