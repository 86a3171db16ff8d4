"""Checks that the disk for the recordings is mounted, and not just its empty mount point there.

The mount point of a disk that is not mounted is a folder like any other: a recorder that does not
check fills the boot disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from edgerec import kernel
from edgerec.store.disk import StoreError, disk_step

_FSTAB: Final = Path("/etc/fstab")
_MOUNTS: Final = Path("/proc/self/mounts")


def check_mounted(
    root: Path, *, require_mount: bool, fstab: Path = _FSTAB, mounts: Path = _MOUNTS
) -> None:
    """Make sure that a storage root is on the disk that it is meant for.

    Parameters
    ----------
    root
        The storage root; need not exist.
    require_mount
        Whether it must be on another file system than `/`.

    Raises
    ------
    StoreError
        `fstab` has a mount point above it at which nothing is mounted, or there is none at all
        and there should be.
    """
    root = Path(os.path.realpath(root))
    here = _mount_points(mounts)
    for point in _mount_points(fstab):
        if root.is_relative_to(point) and point not in here:
            raise StoreError(
                "using", root, f"{point} is in {fstab} and not mounted; mount it, then start again"
            )
    if require_mount and _device(root) == _device(Path("/")):
        raise StoreError(
            "using",
            root,
            "it is on the boot disk; mount its own, or set storage.require_mount to false",
        )


def _mount_points(table: Path) -> set[Path]:
    """Return the second column of a table of mounts; one that isn't there has none."""
    with disk_step("reading", table):
        text = kernel.read_text(table) if table.exists() else ""
    points = [row[1] for row in kernel.rows(text) if len(row) > 1]
    return {Path(point) for point in points if point.startswith("/")}  # others: swap, none


def _device(path: Path) -> int:
    """Return the file system of a path, or of the nearest folder above it that is there."""
    with disk_step("looking at", path):
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        return there.stat().st_dev
