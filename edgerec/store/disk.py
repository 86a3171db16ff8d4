"""The few steps by which the store looks at the disk, and changes it durably.

Every failure is raised as a `StoreError` that says what was being done to which file. All that asks
whether something is in the storage root asks here: pathlib hides some errors, newer versions all.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o750
"""Mode of the folders made here, minus the umask: the service's group may read, nobody else."""
PRIVATE_MODE: Final = 0o700
"""Mode of the service's private folders: anyone who can open the lock file can hold it."""
FILE_MODE: Final = 0o640
"""Mode of files in progress, minus the umask; publishing removes the write bits."""

_log = logging.getLogger(__name__)
_READ_BITS: Final = 0o444
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD: Final = -100  # linux/fcntl.h: paths are relative to the working directory
_RENAME_NOREPLACE: Final = 1  # linux/fs.h
_NO_RENAMEAT2: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""Errors of an old kernel, or of a file system that does not support renameat2."""
_CAN_NOT_LINK: Final = _NO_RENAMEAT2 | {errno.EPERM, errno.EMLINK}  # link(2)
_NO_WAY_TO_PUBLISH: Final = (
    "its file system can neither rename without overwriting nor make hard links, so nothing could "
    "ever be published; put storage.root on ext4, not on a bucket or exFAT mounted by FUSE"
)
_PROBE: Final = ".edgerec-probe-"

_HINTS: Final = {
    errno.ENOSPC: "free space or inodes on this file system, or move storage.root to another",
    errno.EDQUOT: "raise the quota of the service's user",
    errno.EROFS: "remount it read-write; a card that turns read-only is usually worn out",
    errno.EACCES: "the service's user must own storage.root and everything in it; in a unit see "
    "ProtectHome=",
    errno.EPERM: "the service's user must own storage.root and everything in it",
    errno.EIO: "the device reports errors: look at the kernel log and replace it",
}


NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors that mean that the disk accepts no data at present, for any file."""


class StoreError(Exception):
    """A disk operation failed.

    Attributes
    ----------
    path
        The file or folder that was operated on.
    problem
        The system's message, without the path.
    errno
        The system's error number; None if the system raised none.
    """

    def __init__(self, doing: str, path: Path, problem: str, number: int | None = None) -> None:
        hint = _HINTS.get(number or 0)
        super().__init__(f"{doing} {path}: {problem}" + (f" ({hint})" if hint else ""))
        self.path = path
        self.problem = problem
        self.errno = number


def is_no_room(error: StoreError) -> bool:
    """Whether the disk accepts no data at present, for any file."""
    return error.errno in NO_ROOM


@contextmanager
def disk_step(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside into a `StoreError` saying what was being done to what."""
    try:
        yield
    except OSError as error:
        raise StoreError(doing, path, error.strerror or str(error), error.errno) from error


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte of `data`; write(2) alone may stop short near a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file.fileno(), rest) :]


def create(path: Path, head: bytes) -> FileIO:
    """Create a file that must not exist yet, begin it with `head`, and keep it open unbuffered."""
    with disk_step("creating", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    file = FileIO(fd, "w")
    try:
        with disk_step("writing", path):
            write_all(file, head)
    except StoreError:
        file.close()
        raise
    return file


def write_new(path: Path, data: bytes) -> None:
    """Create a file with this content, durable except for its name in the folder."""
    with create(path, data) as file, disk_step("syncing", path):
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Replace the content of `path` durably: at any moment it is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    for place in (fresh, path):
        if is_folder(place):
            put_aside(place)  # no file can replace it
    with disk_step("clearing", fresh):
        fresh.unlink(missing_ok=True)  # left by a crash halfway through here
    write_new(fresh, data)
    with disk_step("replacing", path):
        os.replace(fresh, path)  # noqa: PTH105 -- tests fail this call by name
    sync_folder(path.parent)


def look_at(path: Path, *, follow_links: bool = True) -> os.stat_result | None:
    """Return what stat(2) says of a path; None: it is not there."""
    with disk_step("looking at", path), suppress(FileNotFoundError, NotADirectoryError):
        return path.stat(follow_symlinks=follow_links)
    return None


def is_there(path: Path) -> bool:
    """Tell whether a path exists, as any kind of file or a dangling link."""
    return look_at(path, follow_links=False) is not None


def is_folder(path: Path, *, follow_links: bool = False) -> bool:
    """Tell whether a path is a folder; a link to one only where links are followed."""
    found = look_at(path, follow_links=follow_links)
    return found is not None and stat.S_ISDIR(found.st_mode)


def check_writable(folder: Path) -> None:
    """Make sure that this process may create files in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise StoreError("publishing into", folder, os.strerror(errno.EACCES), errno.EACCES)


def check_free(path: Path) -> None:
    """Make sure that a name is not taken."""
    if is_there(path):
        raise StoreError("publishing", path, os.strerror(errno.EEXIST), errno.EEXIST)


def put_aside(path: Path) -> Path:
    """Rename, within its folder, a file or folder that is in the way; return the new path."""
    aside = path.with_name(f"aside-{secrets.token_hex(4)}")
    move(path, aside)
    return aside


def make_read_only(path: Path) -> None:
    """Remove the write bits; the read bits stay as the umask left them."""
    with disk_step("making read-only", path):
        path.chmod(path.stat().st_mode & _READ_BITS)


def make_writable(path: Path) -> None:
    """Restore the owner's write bit, which an interrupted publish may have removed."""
    with disk_step("making writable", path):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def sync_file(path: Path) -> None:
    """Make a file's content durable. Never call it again for a file after it has failed."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    with disk_step("syncing", path):
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_folders(top: Path, *names: str) -> Path:
    """Make `top`/`names[0]`/`names[1]`/... where it is missing, durably; `top` must exist.

    The parents are synced even if nothing was missing: the process that made the folder may have
    been killed before it synced them.
    """
    folder = top
    for name in names:
        with disk_step("making the folder", folder / name):
            (folder / name).mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(folder)
        folder /= name
    return folder


def make_private(folder: Path) -> None:
    """Make a folder, as `make_folders` does, that only its owner can read."""
    make_folders(folder.parent, folder.name)
    with disk_step("looking at", folder):
        mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~PRIVATE_MODE:
        try:
            folder.chmod(mode & PRIVATE_MODE)
        except OSError as error:  # a file system without modes (FAT), whose mount says who may
            _log.warning(
                "can't make a folder private, others may read it path=%s why=%r", folder, str(error)
            )


def move(source: Path, target: Path) -> None:
    """Rename a file on the same file system, never overwriting one that exists.

    Where the file system can't do that in one step, a crash may leave one file with both names.
    """
    with disk_step(f"moving {source} to", target):
        _move(source, target)


def _move(source: Path, target: Path) -> None:
    try:
        _rename_noreplace(source, target)
    except OSError as error:
        if error.errno not in _NO_RENAMEAT2:
            raise
        os.link(source, target)
        os.unlink(source)  # noqa: PTH108 -- tests fail this call by name


def check_movable(source: Path, target: Path) -> None:
    """Make sure that files can be published from one folder to another, by doing it with a probe.

    Only the kernel can tell: a mount point is in the way even on the same disk, and some file
    systems can rename only by overwriting.

    Raises
    ------
    StoreError
        They are on two file systems, or on one that can neither rename without overwriting nor
        make hard links.
    """
    # Other problems are reported where they matter: a full disk, or another user's folder, must not
    # prevent a start.
    for folder in (source, target):
        with suppress(OSError):
            _clear_probes(folder)
    name = _PROBE + secrets.token_hex(8)
    probe, moved = source / name, target / (name + "-moved")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except OSError:
        probe = source / (name + "-none")  # nothing to move, but two disks are noticed all the same
    try:
        _move(probe, moved)
    except OSError as error:
        if error.errno == errno.EXDEV:
            problem = f"it is on another file system than {source}; mount the disk above both"
            raise StoreError("moving files to", target, problem, error.errno) from error
        if error.errno in _CAN_NOT_LINK:
            raise StoreError("publishing to", target, _NO_WAY_TO_PUBLISH) from error
    finally:
        for left in (probe, moved):
            with suppress(OSError):
                left.unlink()


def _clear_probes(folder: Path) -> None:
    """Delete what a crash halfway through `check_movable` has left."""
    for left in list(folder.glob(f"{_PROBE}*")):
        with suppress(OSError):
            left.unlink()


def _rename_noreplace(source: Path, target: Path) -> None:
    renameat2 = getattr(_LIBC, "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target)
    if renameat2(*names, _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
