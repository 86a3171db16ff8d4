"""What does one hook's program do: its output, and its end, which comes in any case.

Nothing here waits. The program runs without a shell, in a process group of its own that ends with
it, at a lower priority than the recording, and may print only so much.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

MAX_OUTPUT_BYTES: Final = 1 << 20
"""A program that prints more is not at its task any more, and reading it costs CPU."""
MAX_LINES: Final = 20  # of its output go into the log, the last ones: an error comes at the end
MAX_LINE_BYTES: Final = 200
NICE: Final = 10  # of 19: an encoder run by a hook must not compete with the recorder
_READ_BYTES: Final = 1 << 16
_NOT_FOR_HOOKS: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What systemd gives the service alone: a hook could say that the service is well, or has ended."""


class HookProcess:
    """A running program; for one thread.

    Parameters
    ----------
    command
        The program and its arguments.

    Raises
    ------
    OSError
        It can't be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(os.environ),
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        try:
            self._ended = os.pidfd_open(self._process.pid)
        except OSError:  # no descriptor left: nobody would see it end
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._pipe.close()
            raise
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        self._tail = b""  # of the output; holds MAX_LINES of the longest lines that are shown
        self._bytes = 0
        self.silent = False
        """It has closed its output, and may run on."""

    @property
    def output(self) -> int:
        """What to select on for `read`."""
        return self._pipe.fileno()

    @property
    def end(self) -> int:
        """What to select on for `finish`."""
        return self._ended

    @property
    def flooding(self) -> bool:
        """Whether it has printed more than is read."""
        return self._bytes > MAX_OUTPUT_BYTES

    def read(self) -> None:
        """Take in a piece of what it has printed."""
        try:
            data = os.read(self._pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        self.silent = not data
        self._bytes += len(data)
        self._tail = (self._tail + data)[-MAX_LINES * MAX_LINE_BYTES :]

    def said(self) -> list[str]:
        """Return the last lines of its output, each cut to what fits into a log."""
        lines = self._tail.decode(errors="replace").splitlines()
        return [line[:MAX_LINE_BYTES] for line in lines if line.strip()][-MAX_LINES:]

    def finish(self) -> int:
        """End it, if it has not ended, with all that it has started.

        Returns
        -------
        Its exit status; negative: the signal that ended it.
        """
        # Before it is reaped: until then its number, which is the group's, belongs to nobody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if not self.silent:
            self.read()
        self._pipe.close()
        os.close(self._ended)
        return self._process.wait()


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a hook is run with."""
    return {name: value for name, value in inherited.items() if name not in _NOT_FOR_HOOKS}
