"""One reader of live audio: what it has not taken yet, and its time limits.

A reader that keeps up gets everything; one that does not is cut off with the reason as its last
line. Nothing here blocks.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import Final

from edgerec.audio import StreamHeader
from edgerec.wire.messages import error_line

MAX_WAITING_BYTES: Final = 1 << 20  # 5 s of stereo at 48 kHz: a later reader does not listen live
SOCKET_BYTES: Final = 64 * 1024  # the kernel's share of each reader; it takes twice that
FAREWELL_NS: Final = 10 * 1_000_000_000  # to take the last line


class TapConnection:
    """A connection that has become a block stream to its client; for the taps' thread.

    Parameters
    ----------
    connection
        The socket, owned by this object from here on.
    reply
        Answer to the request that made it a tap, to be sent first.
    uid
        Id of the user it belongs to.
    """

    def __init__(self, connection: socket.socket, reply: bytes, uid: int) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self._socket = connection
        self.uid = uid
        self._waiting: deque[bytes | memoryview] = deque([reply])
        self._waiting_bytes = len(reply)
        self._gone_ns: int | None = None
        self.header: StreamHeader | None = None
        """The last header sent; the blocks after it belong to that stream."""
        self.frames = 0
        """Number of frames sent or waiting."""

    def fileno(self) -> int:
        """Return what to select on."""
        return self._socket.fileno()

    @property
    def owed(self) -> bool:
        """Whether something waits until the client reads."""
        return bool(self._waiting)

    @property
    def too_slow(self) -> bool:
        """Whether more waits than a reader may leave waiting."""
        return self._waiting_bytes > MAX_WAITING_BYTES

    def say(self, message: bytes) -> None:
        """Send a message, or queue it. Messages are shared between readers, not copied."""
        self._waiting.append(message)
        self._waiting_bytes += len(message)

    def send(self) -> bool:
        """Send what waits, as far as the client takes it; return whether it is still there."""
        try:
            while self._waiting:
                sent = self._socket.send(self._waiting[0])
                self._waiting_bytes -= sent
                if sent < len(self._waiting[0]):
                    self._waiting[0] = memoryview(self._waiting[0])[sent:]
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            return True
        except OSError:
            return False
        return self._gone_ns is None

    def cut_off(self, code: str, message: str, hint: str, now_ns: int) -> None:
        """Drop what waits, except the rest of a block that has begun, and send the reason."""
        begun = self._waiting[0] if self._waiting else b""
        self._waiting.clear()
        if isinstance(begun, memoryview):
            self._waiting.append(begun)
        self._waiting.append(error_line(None, code, message, hint))
        self._waiting_bytes = sum(map(len, self._waiting))
        self._gone_ns = now_ns + FAREWELL_NS
        with contextlib.suppress(OSError):
            # Room for this last line in the kernel, where it waits for a reader that comes back
            # after we have closed.
            room = SOCKET_BYTES + 2 * self._waiting_bytes
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)

    def overdue(self, now_ns: int) -> bool:
        """Whether one that was cut off has not taken its last line in time."""
        return self._gone_ns is not None and now_ns >= self._gone_ns

    def close(self) -> None:
        """Close the connection; what the kernel has can still be read."""
        self._socket.close()
