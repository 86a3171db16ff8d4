"""Runs a hook's program for one event, reads its output, and ends it with all that it started.

Nothing here waits. The program runs without a shell, as a child of its own `hook_keeper`, at a
lower priority than the recording, and with limited output.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.service import hook_keeper
from edgerec.store.disk import is_there
from edgerec.store.retention.inventory import ACK_SUFFIX

MAX_OUTPUT_BYTES: Final = 1 << 20
"""Maximum amount of output: a program that prints more has gone wrong, and reading costs CPU."""
MAX_LINES: Final = 20  # of its output go into the log, the last ones: an error comes at the end
MAX_LINE_BYTES: Final = 200
_READ_BYTES: Final = 1 << 16
_KEEPER: Final = str(Path(hook_keeper.__file__))
_NOT_FOR_HOOKS: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that systemd sets only for the service: with them a hook could report a false state."""


@dataclass(frozen=True, slots=True)
class Job:
    """One event that a program is to be run for."""

    hook: str
    """Name of the hook in the configuration."""
    command: tuple[str, ...]
    """The program and its arguments, with {names} in them."""
    named: Mapping[str, str]
    """Values of these names."""
    file: Path | None = None
    """The published file that the event is about."""
    tries: int = 0
    """Number of runs that have failed."""

    def filled(self) -> list[str]:
        """Return the command with the names replaced."""
        return [argument.format(**self.named) for argument in self.command]

    def unacknowledged(self) -> bool:
        """Tell whether its file has not been acknowledged yet.

        Raises
        ------
        StoreError
            Its folder can't be looked into.
        """
        if self.file is None:
            return False
        return is_there(self.file) and not is_there(self.file.with_suffix(ACK_SUFFIX))


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
            [sys.executable, "-I", "-S", _KEEPER, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            env=environment(os.environ),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._leash, self._pipe = self._process.stdin, self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        try:
            self._ended = os.pidfd_open(self._process.pid)
        except OSError:  # no descriptor left: its end would go unnoticed
            self._leash.close()
            self._pipe.close()
            self._process.wait()
            raise
        self._tail = b""  # of the output; holds MAX_LINES of the longest lines that are shown
        self._bytes = 0
        self.fault: str | None = None
        """Reason why it was stopped."""
        self.silent = False
        """Whether it has closed its output; it may still run."""

    @property
    def output(self) -> int:
        """Descriptor to select on for `read`."""
        return self._pipe.fileno()

    @property
    def end(self) -> int:
        """Descriptor to select on for `finish`."""
        return self._ended

    @property
    def flooding(self) -> bool:
        """Whether it has printed more than allowed."""
        return self._bytes > MAX_OUTPUT_BYTES

    def read(self) -> None:
        """Take in a piece of what it has printed."""
        try:
            data = os.read(self._pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # as at its end: the program is watched all the same
        self.silent = not data
        self._bytes += len(data)
        self._tail = (self._tail + data)[-MAX_LINES * MAX_LINE_BYTES :]

    def said(self) -> list[str]:
        """Return the last lines of its output, each cut to what fits into a log."""
        lines = self._tail.decode(errors="replace").splitlines()
        return [line[:MAX_LINE_BYTES] for line in lines if line.strip()][-MAX_LINES:]

    def stop(self, fault: str) -> None:
        """End it, for this reason, with all that it has started; `end` becomes readable then."""
        self.fault = self.fault or fault
        self._leash.close()

    def finish(self) -> str | None:
        """Release it, killing its keeper if that has hung.

        Returns
        -------
        Why it has failed; None: it has succeeded.
        """
        if self._process.poll() is None:
            self._process.kill()  # not waited for: a driver may hold it
        if not self.silent:
            self.read()
        self._leash.close()
        self._pipe.close()
        os.close(self._ended)
        status = self._process.poll()
        if status == hook_keeper.UNENDED:
            return "it has started programs that can't be ended: are they another user's (sudo)?"
        if self.fault is not None:
            return self.fault
        if status is None or status < 0:
            return f"its parent process was ended by signal {-(status or -signal.SIGKILL)}"
        return f"exit status {status}" if status else None


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a hook is run with."""
    return {name: value for name, value in inherited.items() if name not in _NOT_FOR_HOOKS}
