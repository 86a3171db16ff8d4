"""A wake-up for a thread that waits in `select`, `poll` or `epoll`."""

from __future__ import annotations

import contextlib
import os
import threading


class Waker:
    """Readable from `set` to `clear`; every method does nothing after `close`.

    `set` is for any thread and for signal handlers, the rest for the thread that waits.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # A late `set` must not write to a descriptor that has been closed and belongs to somebody
        # else by now. Reentrant: a signal handler may interrupt a `set` of its own thread.
        self._lock = threading.RLock()

    def fileno(self) -> int:
        """Return what to select on; -1 after `close`."""
        return self._fd

    def set(self) -> None:
        """Wake the waiting thread, now or as soon as it waits."""
        with self._lock:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Take back every `set` so far; call it before looking for what there is to do."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._fd >= 0:
                os.eventfd_read(self._fd)

    def close(self) -> None:
        """Release it."""
        with self._lock:
            fd, self._fd = self._fd, -1  # first: a signal handler may interrupt here
            if fd >= 0:
                os.close(fd)
