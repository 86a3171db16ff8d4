"""Notices changes of devices: new sound cards, and the events of the sound server.

Cards by the files that the kernel creates in /dev/snd (inotify(7)), events by `pactl subscribe`, a
process that sleeps; where there is no server it is retried, less and less often.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from edgerec.clock import Clock

SOUND_DEVICES: Final = Path("/dev/snd")

_IN_ATTRIB: Final = 0x004  # linux/inotify.h; udev gives the new file to group audio
_IN_CREATE: Final = 0x100


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
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


log = logging.getLogger(__name__)

# setpriv: the kernel kills it with our thread, should that be killed itself.
SUBSCRIBE: Final = ("setpriv", "--pdeathsig", "KILL", "pactl", "subscribe")
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0  # where there is no server; a new stream has it tried at once

_EVENT: Final = re.compile(rb"Event '(\w+)' on (source-output|source|server) ")
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Tidings:
    """The meaning of a few lines of `pactl subscribe`."""

    changed: bool = False
    """Whether a program may record from another source now."""
    appeared: bool = False
    """Whether there is a new source."""


def tidings(lines: bytes) -> Tidings:
    """Read what `pactl subscribe` printed.

    A source changes with every change of volume and every suspension; only its appearance and its
    removal matter. The server changes when its default does.
    """
    events = [(kind, what) for kind, what in _EVENT.findall(lines)]
    changed = any(what != b"source" or kind != b"change" for kind, what in events)
    return Tidings(changed, (b"new", b"source") in events)


class ServerEvents:
    """The server's events, followed whenever there is a server; for one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._due_ns: int | None = 0  # when to try; None: never again
        self._retry_s = FIRST_RETRY_S

    @property
    def followed(self) -> bool:
        """Whether the events are followed."""
        return self._process is not None

    def fileno(self) -> int | None:
        """Return what to select on; None while they are not followed."""
        stdout = None if self._process is None else self._process.stdout
        return None if stdout is None else stdout.fileno()

    def due_ms(self) -> int | None:
        """Return the time until `follow` is due, in ms; None: there is nothing to try."""
        if self._process is not None or self._due_ns is None:
            return None
        return max(0, math.ceil((self._due_ns - self._clock.now_ns()) / 1e6))

    def follow(self) -> bool:
        """Start following events, if a try is due; return whether that was done."""
        if self.due_ms() != 0:
            return False
        try:
            self._process = subprocess.Popen(
                SUBSCRIBE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            log.info("sound-server events are not followed why=%r", str(error))
            self._due_ns = None
            return False
        return True

    def hasten(self) -> None:
        """Try at once: there seems to be a server."""
        if self._due_ns is not None:
            self._due_ns = 0

    def take(self) -> Tidings | None:
        """Return what has come, when `fileno` is readable; None: the server is gone."""
        fd = self.fileno()
        lines = b"" if fd is None else os.read(fd, _READ_BYTES)
        if not lines:
            return None
        told = tidings(lines)
        if told.changed:
            self._retry_s = FIRST_RETRY_S
        return told

    def close(self) -> None:
        """Stop following events until the next try is due."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        self._due_ns = self._clock.now_ns() + round(self._retry_s * 1e9)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
