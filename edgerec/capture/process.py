"""One capture process: its pipe, its standard error and its end.

Started, read without blocking, killed and reaped here; `child` decides when.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Final

from edgerec.audio import Block, StreamHeader
from edgerec.wire.blocks import Decoder
from edgerec.wire.pipe import make_room

MAX_STDERR_BYTES: Final = 4096
"""Number of bytes kept from the end of standard error: ALSA's libraries can write megabytes."""

_READ_BYTES: Final = 1 << 16
_MAX_READS: Final = 32  # 2 MiB: a full pipe twice over; a child that floods can't hold us


class ChildProcess:
    """A process that writes a block stream to its standard output.

    Parameters
    ----------
    env
        Variables added to our own environment.

    Raises
    ------
    OSError
        It can't be started.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        # A session of its own: Ctrl-C in our terminal must not end the recording from below,
        # and what it starts itself can be killed with it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=os.environ | env,
            start_new_session=True,
        )
        self._stdout = _nonblocking(self._process.stdout)
        self._stderr = _nonblocking(self._process.stderr)
        self._pipes = select.poll()
        for pipe in (self._stdout, self._stderr):
            self._pipes.register(pipe, select.POLLIN)
        self.roomy = make_room(self._stdout.fileno())
        """Whether its pipe is large enough to be left unread for a while."""
        self._decoder = Decoder()
        self._stderr_tail = b""
        self.killed = False
        self.at_end = False
        """Whether its pipe is closed and everything in it was read."""

    @property
    def pid(self) -> int:
        """Process id; not reused until the process is reaped."""
        return self._process.pid

    def fileno(self) -> int | None:
        """Return the pipe to select on; None once nothing more can come."""
        return None if self.killed or self.at_end else self._stdout.fileno()

    def messages(self) -> Iterator[StreamHeader | Block]:
        """Yield every message that has arrived.

        Raises
        ------
        WireError
            The output is not a block stream; what came before has been yielded.
        """
        ready = dict(self._pipes.poll(0))
        if self._stderr.fileno() in ready:
            self._read_stderr()
        if self._stdout.fileno() not in ready:
            return
        for data in _read_available(self._stdout):
            if not data:
                self.at_end = True
                return
            yield from self._decoder.feed(data)

    def kill(self) -> None:
        """Kill the process and what it started."""
        if not self.killed:
            self.killed = True
            # It may have ended by itself, but it is not reaped: the id is still its own.
            os.killpg(self._process.pid, signal.SIGKILL)

    def exited(self) -> bool:
        """Reap the process if it has exited; return whether it has."""
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> None:
        """Reap the process, or give up: one in a hung driver (state D) outlives even SIGKILL."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.close()

    def close(self) -> None:
        """Close our ends of its pipes."""
        self._stdout.close()
        self._stderr.close()

    def last_words(self) -> str:
        """Return why it ended: the error it printed, else its last line and its exit status."""
        self._read_stderr()
        lines = self._stderr_tail.decode(errors="replace").splitlines()
        for line in reversed(lines):
            said = _parse_error_line(line)
            if said is not None:
                return said
        status = _describe_status(self._process.returncode)
        return f"{status}: {lines[-1]}" if lines else status

    def _read_stderr(self) -> None:
        for data in _read_available(self._stderr):
            if not data:
                return
            self._stderr_tail = (self._stderr_tail + data)[-MAX_STDERR_BYTES:]


def _nonblocking(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("a capture child's pipes are always opened")
    os.set_blocking(pipe.fileno(), False)
    return pipe


def _read_available(pipe: IO[bytes]) -> Iterator[bytes]:
    """Yield what the pipe holds, b"" at its end, and no more than a bounded amount."""
    for _ in range(_MAX_READS):
        try:
            yield os.read(pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return


def _parse_error_line(line: str) -> str | None:
    """Read ``{"error": ..., "hint": ...}``; None for any other line."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or "error" not in said:
        return None
    return f"{said['error']} ({said['hint']})" if said.get("hint") else str(said["error"])


def _describe_status(status: int | None) -> str:
    if status is None:
        return "the capture child closed its pipe and won't exit"
    if status < 0:
        return f"the capture child was killed by signal {-status}"
    return f"the capture child exited with status {status}"
