"""Determines whether a folder is kept on a disk or in memory, which the next boot empties."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgerec.kernel import read_text, rows

MOUNTS: Final = Path("/proc/self/mountinfo")
COMMAND_LINE: Final = Path("/proc/cmdline")

Medium = Literal["disk", "memory", "unknown"]

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
_MEMORY_DEVICE: Final = "/dev/zram"
_MEMORY_OVERLAYS: Final = ("boot=overlay", "overlayroot=tmpfs")
"""Kernel arguments of raspi-config and Debian's overlayroot that keep what is written in memory."""


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    """Major and minor device number, such as 8:1."""
    kind: str
    source: str
    options: str


def medium_of(folder: Path, mounts: Path = MOUNTS, command_line: Path = COMMAND_LINE) -> Medium:
    """Return what a folder, which is there, is kept on.

    Returns
    -------
    "unknown" where an overlay does not show its upper layer, as in a container.

    Raises
    ------
    OSError
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
    with suppress(OSError):  # out of sight, or nothing that this user may look at
        below = _mount_of(layer, mounts) if layer is not None and layer.is_absolute() else None
        if layer is not None and below is not None and below.kind != "overlay":
            return medium_of(layer, mounts, command_line)
    said = _read(command_line).split()
    return "memory" if any(word.startswith(_MEMORY_OVERLAYS) for word in said) else "unknown"


def _mount_of(folder: Path, mounts: Path) -> _Mount | None:
    number = folder.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    return next((mount for mount in _mounts(mounts) if mount.device == device), None)


def _mounts(table: Path) -> Iterator[_Mount]:
    for fields in rows(_read(table)):
        if "-" in fields[3:]:  # after any number of optional fields, proc(5)
            kind, *rest = fields[fields.index("-", 3) + 1 :] or [""]
            if len(rest) > 1:
                yield _Mount(fields[2], kind, rest[0], rest[1])


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except OSError:
        return ""  # where there is no /proc nothing is known
