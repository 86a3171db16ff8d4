"""Lists a tree of published files, a kiosk's own or an archive.

Files that other programs keep there for themselves are left out: hidden files and folders
(`._X.wav`, `.DS_Store`, `.~tmp`, `.stversions`, `.syncthing.X.wav.tmp`), recycle bins, thumbnails
of a NAS.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgerec.store.disk import StoreError, disk_step
from edgerec.store.root import QUARANTINE

_NOT_RECORDINGS: Final = frozenset(
    (
        QUARANTINE,
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        "#recycle",
        "@Recycle",
        "@eaDir",
    )
)
"""Folders left out: those of file systems, Windows, Synology and QNAP."""


def walk(top: Path) -> Iterator[Path]:
    """Yield every file at any depth, in order, except hidden ones and those in quarantine.

    Folders may disappear meanwhile: retention removes the empty ones.

    Raises
    ------
    StoreError
        A folder can't be listed, such as `top` itself.
    """

    def not_listed(error: OSError) -> None:
        folder = Path(error.filename)
        if isinstance(error, FileNotFoundError) and folder != top:
            return
        with disk_step("listing", folder):
            raise error

    for folder, subfolders, names in os.walk(top, onerror=not_listed):
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name not in _NOT_RECORDINGS
        )
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def length_of(path: Path) -> int:
    """Return the length of a regular file in bytes, without opening it.

    Raises
    ------
    StoreError
        There is none, or it is something else: opening a pipe would wait for its writer.
    """
    with disk_step("looking at", path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreError("reading", path, "is not a regular file")
    return found.st_size
