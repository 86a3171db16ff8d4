"""What a folder's file system is kept on: a disk, or memory, which the next boot empties."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

MOUNTS: Final = Path("/proc/self/mountinfo")
COMMAND_LINE: Final = Path("/proc/cmdline")

Medium = Literal["disk", "memory", "unknown"]

_IN_MEMORY: Final = frozenset({b"tmpfs", b"ramfs", b"rootfs", b"devtmpfs"})
_MEMORY_DEVICE: Final = b"/dev/zram"
_MEMORY_OVERLAYS: Final = (b"boot=overlay", b"overlayroot=tmpfs")
"""How raspi-config and Debian's overlayroot tell the kernel that what is written goes to memory."""
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")  # how a blank in a name is written, proc(5)


@dataclass(frozen=True, slots=True)
class _Mount:
    device: bytes
    """Major and minor number, as in 8:1."""
    kind: bytes
    source: bytes
    options: bytes


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
    if mount.kind != b"overlay":
        return "disk"
    upper = re.search(rb"(?:^|,)upperdir=([^,]*)", mount.options)
    layer = Path(os.fsdecode(_unescaped(upper[1]))) if upper else None
    if layer is not None and layer.is_absolute() and layer.is_dir():
        below = _mount_of(layer, mounts)
        if below is not None and below.kind != b"overlay":
            return medium_of(layer, mounts, command_line)
    said = _read(command_line).split()
    return "memory" if any(word.startswith(_MEMORY_OVERLAYS) for word in said) else "unknown"


def _mount_of(folder: Path, mounts: Path) -> _Mount | None:
    number = folder.stat().st_dev
    device = b"%d:%d" % (os.major(number), os.minor(number))
    return next((mount for mount in _mounts(mounts) if mount.device == device), None)


def _mounts(table: Path) -> list[_Mount]:
    """Return the table's rows, in bytes: names in it may be in any encoding."""
    found = []
    for line in _read(table).split(b"\n"):
        place, _, what = line.partition(b" - ")
        before, after = place.split(b" "), what.split(b" ")
        if len(before) > 2 and len(after) > 2:
            found.append(_Mount(before[2], after[0], _unescaped(after[1]), after[2]))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # where there is no /proc nothing is known


def _unescaped(name: bytes) -> bytes:
    return _OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), name)
