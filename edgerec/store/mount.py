"""Checks that the recordings' folder is on the disk that is meant, and on a disk at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgerec import kernel
from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step

_FSTAB: Final = Path("/etc/fstab")
_MOUNTS: Final = Path("/proc/self/mounts")
MOUNT_INFO: Final = Path("/proc/self/mountinfo")
COMMAND_LINE: Final = Path("/proc/cmdline")

Medium = Literal["disk", "memory", "unknown"]

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
_MEMORY_DEVICE: Final = "/dev/zram"
_MEMORY_OVERLAYS: Final = ("boot=overlay", "overlayroot=tmpfs")
"""Kernel arguments of raspi-config and Debian's overlayroot that keep what is written in memory."""


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
    with disk_step("looking at", root):
        root = root.resolve()
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
    text = ""
    with disk_step("reading", table), suppress(FileNotFoundError):
        text = kernel.read_text(table)
    points = [row[1] for row in kernel.rows(text) if len(row) > 1]
    return {Path(point) for point in points if point.startswith("/")}  # others: swap, none


def _device(path: Path) -> int:
    """Return the file system of a path, or of the nearest folder above it that is there."""
    found = (disk.look_at(folder) for folder in (path, *path.parents))
    return next(one.st_dev for one in found if one is not None)


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    """Major and minor device number, such as 8:1."""
    kind: str
    source: str
    options: str


def medium_of(folder: Path, mounts: Path = MOUNT_INFO, command_line: Path = COMMAND_LINE) -> Medium:
    """Return what a folder, which is there, is kept on.

    Returns
    -------
    "unknown" where an overlay does not show its upper layer, as in a container.

    Raises
    ------
    StoreError
        The folder can't be looked at.
    """
    mount = _mount_of(folder, mounts)
    if mount is None:  # such as a subvolume, which has a number of its own
        return "disk"
    if mount.kind in _IN_MEMORY or mount.source.startswith(_MEMORY_DEVICE):
        return "memory"
    if mount.kind != "overlay":
        return "disk"
    upper = re.search(r"(?:^|,)upperdir=([^,]*)", mount.options)
    layer = Path(upper[1]) if upper else None
    with suppress(StoreError):  # out of sight, or nothing that this user may look at
        below = _mount_of(layer, mounts) if layer is not None and layer.is_absolute() else None
        if layer is not None and below is not None and below.kind != "overlay":
            return medium_of(layer, mounts, command_line)
    said = _read(command_line).split()
    return "memory" if any(word.startswith(_MEMORY_OVERLAYS) for word in said) else "unknown"


def _mount_of(folder: Path, mounts: Path) -> _Mount | None:
    with disk_step("looking at", folder):
        number = folder.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    return next((mount for mount in _mounts(mounts) if mount.device == device), None)


def _mounts(table: Path) -> Iterator[_Mount]:
    for fields in kernel.rows(_read(table)):
        if "-" in fields[3:]:  # after any number of optional fields, proc(5)
            kind, *rest = fields[fields.index("-", 3) + 1 :] or [""]
            if len(rest) > 1:
                yield _Mount(fields[2], kind, rest[0], rest[1])


def _read(path: Path) -> str:
    try:
        return kernel.read_text(path)
    except OSError:
        return ""  # where there is no /proc nothing is known
