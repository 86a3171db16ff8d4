"""Notices new sound cards by the files that the kernel creates in /dev/snd (inotify(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final, Self

SOUND_DEVICES: Final = Path("/dev/snd")

_IN_ATTRIB: Final = 0x004  # linux/inotify.h; udev gives the new file to group audio
_IN_CREATE: Final = 0x100
_READ_BYTES: Final = 4096  # an event has 16 bytes and a name


class CardWatch:
    """A descriptor that is readable when a card has appeared; a context manager that closes it.

    Without ALSA there is nothing to watch: `fileno` is None.
    """

    def __init__(self, folder: Path = SOUND_DEVICES) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._fd: int | None = None if fd < 0 else fd
        mask = _IN_CREATE | _IN_ATTRIB
        if fd >= 0 and libc.inotify_add_watch(fd, os.fsencode(folder), mask) < 0:
            self.close()

    def fileno(self) -> int | None:
        """Return what to select on; None where nothing can be watched."""
        return self._fd

    def take(self) -> bool:
        """Whether a card has appeared, or changed its owner, since the last call. Never blocks."""
        came = False
        with contextlib.suppress(BlockingIOError):
            while self._fd is not None and os.read(self._fd, _READ_BYTES):
                came = True
        return came

    def close(self) -> None:
        """Watch no more."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no more."""
        self.close()
