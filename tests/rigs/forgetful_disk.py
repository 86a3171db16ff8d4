"""A disk that forgets: after a power cut it has what was made durable, and maybe some of the rest.

Content is durable by fsync and fdatasync of the file, names by fsync of their folder, as POSIX has
it and no more: a rename whose folder was not synced may be lost, or not.
"""

import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest


class ForgetfulDisk:
    """Watches what is made durable below a folder."""

    def __init__(self):
        self._contents = {}
        self._names = {}
        self._held = []  # open, so that no inode number is used twice

    @contextmanager
    def watching(self):
        """Take note of every sync inside."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "fdatasync"):
                patch.setattr(os, name, self._noting(getattr(os, name)))
            yield
        for fd in self._held:
            os.close(fd)

    def _noting(self, real):
        def sync(fd):
            real(fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self._held.append(os.open(path, os.O_PATH))
            if path.is_dir():
                self._names[_inode(path)] = {one.name: _inode(one) for one in path.iterdir()}
            else:
                self._contents[_inode(path)] = path.read_bytes()

        return sync

    def lose_power(self, folder, target, rng, *, luck):
        """Make `target` what `folder` is after a power cut.

        Parameters
        ----------
        luck
            How likely it is that what was last done to a file is there though it was not synced;
            0 to 1. A rename is there or not: no file system does half of it.
        """
        now = {_inode(path): path for path in (folder, *folder.rglob("*"))}
        known = {child for names in self._names.values() for child in names.values()}
        lucky = {inode for inode in sorted({*now, *known}) if rng.random() < luck}
        self._rebuild(_inode(folder), now, target, lucky)

    def _rebuild(self, inode, now, target, lucky):
        target.mkdir()
        durable = self._names.get(inode, {})
        here = {one.name: _inode(one) for one in now[inode].iterdir()} if inode in now else {}
        names = {name: child for name, child in durable.items() if child not in lucky}
        names |= {name: child for name, child in here.items() if child in lucky}
        for name, child in names.items():
            path = now.get(child)
            if stat.S_ISDIR(child[1]):
                self._rebuild(child, now, target / name, lucky)
            elif path is not None and child in lucky:
                (target / name).write_bytes(path.read_bytes())
            else:
                (target / name).write_bytes(self._contents.get(child, b""))


def _inode(path):
    found = path.lstat()
    return found.st_ino, stat.S_IFMT(found.st_mode)
