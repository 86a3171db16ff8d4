"""A disk that fails on request, and one that tells what it was asked to do."""

import errno
import itertools
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgerec.store import disk

LOOKS = ("stat", "lstat", "scandir", "listdir", "statvfs")
CALLS = ("open", "write", "pwrite", "fsync", "fdatasync", "replace", *LOOKS)


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing after it runs."""


@contextmanager
def failing_call(nth, error):
    """Make the nth disk call inside fail once; yield a count of the calls so far.

    With `error` None the process is killed there instead: every call from the nth on is not made.
    """
    seen = itertools.count(1)
    count = [0]

    def failing(real):
        def call(*args, **kwargs):
            count[0] = next(seen)
            if error is None and count[0] >= nth:
                raise Killed
            if count[0] == nth:
                raise OSError(error, os.strerror(error))
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, failing(getattr(os, name)))
        for name in ("chmod", "mkdir", "unlink"):
            patch.setattr(Path, name, failing(getattr(Path, name)))
        patch.setattr(disk, "_rename_noreplace", failing(disk._rename_noreplace))
        yield lambda: count[0]


@contextmanager
def failing_looks(kind, folder):
    """Make every look of one kind at what is under `folder` fail with EIO."""

    def failing(name, real):
        def look(path=".", *args, **how):
            ours = not isinstance(path, int) and os.fspath(path).startswith(str(folder))
            if ours and look_of(name, how) == kind:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(path, *args, **how)

        return look

    with pytest.MonkeyPatch.context() as patch:
        for name in LOOKS:
            patch.setattr(os, name, failing(name, getattr(os, name)))
        yield


def look_of(name, how):
    """Return which kind of look a call of `os` is; pathlib has lstat(2) done by `os.stat`."""
    return "lstat" if name == "stat" and not how.get("follow_symlinks", True) else name


def open_files(folder):
    """The files under `folder` that this process has open."""
    links = Path("/proc/self/fd").iterdir()
    targets = (str(link.readlink()) for link in links if os.path.lexists(link))
    return sorted(target for target in targets if target.startswith(f"{folder}/"))


@contextmanager
def recorded_calls():
    """Yield a list that receives (call, file name) of all that makes or names files durable."""
    calls = []

    def path_of(fd):
        return Path(f"/proc/self/fd/{fd}").readlink().name

    def fsync(fd, real=os.fsync):
        calls.append(("fsync", path_of(fd)))
        real(fd)

    def fdatasync(fd, real=os.fdatasync):
        calls.append(("fdatasync", path_of(fd)))
        real(fd)

    def rename(source, target, real=disk._rename_noreplace):
        calls.append(("rename", target.name))
        real(source, target)

    def unlink(path, real=Path.unlink, **how):
        calls.append(("unlink", path.name))
        real(path, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "fdatasync", fdatasync)
        patch.setattr(Path, "unlink", unlink)
        patch.setattr(disk, "_rename_noreplace", rename)
        yield calls
