"""The connection of one application that feeds a track, from the handover to its last line.

Nothing here blocks, and an application that goes away, sends rubbish or reads nothing ends only
its own connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Final

from edgerec.audio import Block, StreamHeader
from edgerec.wire.blocks import SAMPLE_BYTES, Decoder, WireError
from edgerec.wire.messages import RefusedError, error_line, result_line

MAX_BYTES_PER_S: Final = 48_000 * 16 * SAMPLE_BYTES
"""Maximum data rate of a feed. Several stages hold seconds of audio with all its channels: 64
channels at 384 kHz would take more memory there than the service may use."""
_READ_BYTES: Final = 1 << 16
_MAX_READS: Final = 4  # 256 KiB, 2.7 s of mono at 48 kHz: the other track is not kept waiting


class FeedError(RefusedError):
    """An application sent something that can't be recorded; its stream ends there."""


def check_form(sample_rate: int, channels: int) -> None:
    """Raise `FeedError` if a feed at this rate and number of channels is too much."""
    bytes_per_s = sample_rate * channels * SAMPLE_BYTES
    if bytes_per_s > MAX_BYTES_PER_S:
        raise FeedError(
            "malformed",
            f"{channels} channels at {sample_rate} Hz are {bytes_per_s} bytes a second, "
            f"a feed takes {MAX_BYTES_PER_S}",
            f"send at most {MAX_BYTES_PER_S // (sample_rate * SAMPLE_BYTES)} channels at that "
            "rate: they are mixed to one",
        )


class FeedConnection:
    """A connection that has become a block stream; for the recorder thread.

    Parameters
    ----------
    connection
        The socket, owned by this object from here on.
    received
        The part of the block stream that was already read.
    reply
        Answer to the request that made it a feed, to be sent first.
    """

    def __init__(self, connection: socket.socket, received: bytes, reply: bytes) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._decoder = Decoder(clears=True)
        self._unread = received
        self._bytes = 0  # of the block stream, so far
        self._reply = reply
        self.at_end = False
        """Whether the application has sent everything."""
        self.frames = 0
        """Number of frames received so far."""
        self.cleared = False
        """Whether the last message was sent before `clear`."""
        self._cleared_bytes = 0  # of the block stream, up to which it was

    def fileno(self) -> int:
        """Return what to select on."""
        return self._socket.fileno()

    def messages(self, wanted: Callable[[], bool]) -> Iterator[StreamHeader | Block]:
        """Yield what has come.

        Parameters
        ----------
        wanted
            Called before each read; reading stops when it returns False.

        Raises
        ------
        FeedError
            It is not a block stream, or ends inside a message; what came before has been yielded.
        """
        self._say(self._reply)
        self._reply = b""
        try:
            for data in self._available(wanted):
                self._bytes += len(data)
                start = self._decoder.offset
                for message in self._decoder.feed(data):
                    self.cleared = start < self._cleared_bytes
                    start = self._decoder.offset
                    self.frames += message.frames if isinstance(message, Block) else 0
                    yield message
        except WireError as error:
            hint = "blocks are described under Block stream in docs/contract.md"
            raise FeedError("malformed", str(error), hint) from error
        if self.at_end and self._decoder.offset < self._bytes:
            cut = f"the connection ended inside a block that began at byte {self._decoder.offset}"
            raise FeedError("cut_off", cut, "send whole blocks before closing")

    def clear(self) -> None:
        """Have everything that the application has sent by now count as cleared."""
        unread = bytearray(4)
        with contextlib.suppress(OSError):  # it may be gone
            fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, unread)
        self._cleared_bytes = (
            self._bytes + len(self._unread) + int.from_bytes(unread, sys.byteorder)
        )

    def answer(self, result: dict[str, object]) -> None:
        """Answer a message."""
        self._say(result_line(None, result))

    def finish(self, result: dict[str, object]) -> None:
        """Say that all was taken, and close."""
        self._end(result_line(None, result))

    def refuse(self, error: FeedError) -> None:
        """Say what was wrong, and close."""
        self._end(error_line(None, error.code, str(error), error.hint))

    def _end(self, line: bytes) -> None:
        self._say(self._reply + line)
        self._socket.close()

    def _available(self, wanted: Callable[[], bool]) -> Iterator[bytes]:
        if self._unread:
            unread, self._unread = self._unread, b""
            yield unread
        for _ in range(_MAX_READS):
            if not wanted():
                return
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""  # it went away without closing: that is the end, too
            if not data:
                self.at_end = True
                return
            yield data

    def _say(self, line: bytes) -> None:
        # A line always fits into the buffer of a socket whose client reads its answers; a client
        # that does not, or is gone, can't be told anyway.
        with contextlib.suppress(OSError):
            self._socket.send(line)
