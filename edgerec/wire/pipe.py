"""Sends a device's frames into a pipe without ever waiting for its reader.

What a full pipe can't take is dropped in whole blocks and counted, so that the next block's
`first_frame` shows what is missing. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgerec import kernel
from edgerec.audio import BlockFlags, StreamHeader
from edgerec.clock import Clock, boot_id
from edgerec.wire.blocks import encode_block_header, encode_stream_header

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

PIPE_BYTES: Final = 1 << 20
"""Size of the pipe: 10 s of one 48 kHz channel, the most that Linux gives without privilege."""

_NO_FLAGS: Final = BlockFlags(0)


def make_room(pipe: int) -> bool:
    """Enlarge a pipe to `PIPE_BYTES`; return whether that succeeded: pipes are limited per user."""
    try:
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES
    except OSError:
        return False


class BlockPipe:
    """Whole messages into a pipe that nobody may be emptying. Never waits, never grows."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        make_room(fd)  # a pipe that stays small, or a file, is as correct; it only drops sooner
        self._fd = fd
        self._rest = b""  # of the last message, at most all of it

    def send(self, head: bytes, pcm: Buffer) -> bool:
        """Write what the pipe takes of a message and keep the rest for the next call.

        Parameters
        ----------
        head, pcm
            The message's two parts; copied only where there is a rest.

        Returns
        -------
        False when there is a rest still, and this message is refused.

        Raises
        ------
        BrokenPipeError
            Nobody will ever read it.
        """
        if self._rest:
            # Before anything else, or the reader finds one message inside another.
            self._rest = self._rest[self._write(self._rest) :]
            if self._rest:
                return False
        written = self._write(head, pcm)
        if written < len(head) + memoryview(pcm).nbytes:
            self._rest = (head + bytes(pcm))[written:]
        return True

    def _write(self, *parts: Buffer) -> int:
        try:
            return os.writev(self._fd, parts)
        except BlockingIOError:
            return 0


class BlockSender:
    """Counts and stamps a device's frames and sends them as a block stream.

    Belongs to the one thread that has the frames.
    """

    def __init__(self, pipe: BlockPipe, header: StreamHeader, clock: Clock) -> None:
        self._pipe = pipe
        self._header = header
        self._clock = clock
        self._opened = False
        self._first_frame = 0
        self._flags = BlockFlags.NEW_STREAM

    def send(
        self,
        pcm: Buffer,
        frames: int,
        arrived_ns: int,
        adc_ns: int,
        *,
        overflow: bool,
        adc_error_us: int = 0,
    ) -> None:
        """Send one block, or drop and count it; `pcm` need not outlive the call.

        Raises
        ------
        BrokenPipeError
            The recorder is gone.
        """
        if overflow:
            self._flags |= BlockFlags.OVERFLOW
        block = encode_block_header(
            self._first_frame, frames, arrived_ns, adc_ns, self._flags, adc_error_us
        )
        opening = b"" if self._opened else self._opening_line(arrived_ns)
        if self._pipe.send(opening + block, pcm):
            self._opened = True
            self._flags = _NO_FLAGS
        else:
            # The flags of this block are carried by the next one that gets through.
            self._flags |= BlockFlags.DROPPED
        self._first_frame += frames

    def _opening_line(self, arrived_ns: int) -> bytes:
        now = self._clock.read()
        utc_ns = now.utc_ns - (now.raw_ns - arrived_ns)
        return encode_stream_header(replace(self._header, utc_ns=utc_ns, boot_id=boot_id()))


OOM_SCORE: Final = 500
"""OOM score of a capture child: where memory is short a hook is killed first (1000), then a capture
child, which is restarted at once, and the recorder last."""

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    The thread, not the process: capture children must not be started from a thread that ends before
    they do (prctl(2), PR_SET_PDEATHSIG). A parent that ended before this call shows in the child's
    pipe, which then has no reader.

    Raises
    ------
    OSError
        The kernel refuses; the child would keep holding the device of a dead recorder.
    """
    parent_pid = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"asking to be killed with the recorder: {os.strerror(error)}")
    # A parent that ended between the two calls sent no signal, and never will.
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def be_killed_first() -> None:
    """Have the kernel end this process before the recorder where memory is short."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # without /proc it captures nevertheless
        if int(kernel.read_text(score)) < OOM_SCORE:
            score.write_text(str(OOM_SCORE))
