"""One client of the control socket, and the seats that clients share.

Nothing here blocks, and all of it is bounded: a request that never ends costs 64 KiB; an answer or
message is taken before there is another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import Counter
from typing import Final

from edgerec.service.control.protocol import Messages

MAX_LINE_BYTES: Final = 64 * 1024  # requests have a hundred bytes
IDLE_NS: Final = 60 * 1_000_000_000  # between requests, and to finish one
SLOW_NS: Final = 10 * 1_000_000_000  # to take an answer; a program that reads takes none
AUDIO_SOCKET_BYTES: Final = 64 * 1024
"""The kernel's share of each reader of audio; it takes twice that."""

_PEERCRED: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


class LineTooLongError(Exception):
    """The client sent a line that can't be a request."""


class Connection:
    """One connection, without blocking; for the control thread.

    Parameters
    ----------
    connection
        The socket, owned by this object from here on.
    uid
        Id of the user it belongs to.
    seats
        Seats to which its seat belongs.
    """

    def __init__(self, connection: socket.socket, uid: int, seats: Seats, now_ns: int) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.uid = uid
        self.seats = seats
        self.messages: Messages | None = None
        """Messages sent to the client as they come; a subscriber need not make requests."""
        self.only_listens = False
        """Whether nothing but these messages is exchanged: what the client sends is not read."""
        self.leaving = False
        """Whether the client has been sent its last line, to be disconnected once it has that."""
        self.watched = 0
        """Events of epoll that are waited for."""
        self._received = bytearray()
        self._unsent: bytes | memoryview = b""
        self._deadline_ns = now_ns + IDLE_NS

    @property
    def owed(self) -> bool:
        """Whether something is not sent yet; no request is read before it is."""
        return bool(self._unsent)

    @property
    def asks(self) -> bool:
        """Whether a whole request waits."""
        return self._received.find(b"\n", 0, MAX_LINE_BYTES) >= 0

    def overdue(self, now_ns: int) -> bool:
        """Whether the client has exceeded its time limit.

        A reader of audio has none: the room for what waits is its limit.
        """
        if now_ns < self._deadline_ns or self.only_listens:
            return False
        return self.owed or self.messages is None

    def follow(self, messages: Messages, *, only: bool) -> None:
        """Send these messages from now on, in place of others; if `only`, nothing else."""
        self.forget_messages()
        self.messages, self.only_listens = messages, only
        if only:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, AUDIO_SOCKET_BYTES)

    def forget_messages(self) -> None:
        """Stop sending messages to the client."""
        if self.messages is not None:
            self.messages.close()
        self.messages, self.only_listens = None, False

    def receive(self) -> bool:
        """Take in what came; return whether more may come.

        Raises
        ------
        OSError
            The client is gone.
        """
        try:
            data = self.socket.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return True
        self._received += data
        return bool(data)

    def next_line(self) -> bytes | None:
        """Return the next request; None if none is whole.

        Raises
        ------
        LineTooLongError
            It will never be whole.
        """
        end = self._received.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._received) >= MAX_LINE_BYTES:
                raise LineTooLongError
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def say(self, message: bytes, now_ns: int) -> None:
        """Send an answer or a message, or as much of it as the client takes.

        Raises
        ------
        OSError
            The client is gone.
        """
        self._unsent = message
        self._deadline_ns = now_ns + SLOW_NS
        self.send(now_ns)

    def say_last(self, line: bytes, now_ns: int) -> None:
        """Send a last line, after the rest of a message that has begun.

        Raises
        ------
        OSError
            The client is gone.
        """
        self.forget_messages()
        self.leaving = True
        rest = bytes(self._unsent) + line
        with contextlib.suppress(OSError):
            # Room for it in the kernel, where it waits for a reader that comes back later.
            taken = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            room = taken // 2 + 2 * len(rest)  # the kernel doubles what is set
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.say(rest, now_ns)

    def send(self, now_ns: int) -> None:
        """Continue sending.

        Raises
        ------
        OSError
            The client is gone.
        """
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            return
        self._unsent = memoryview(self._unsent)[sent:]  # messages are shared, not copied
        if not self._unsent:
            self._deadline_ns = now_ns + IDLE_NS

    def rest(self) -> bytes:
        """Return what was received after the last request."""
        return bytes(self._received)


class Seats:
    """A number of places, shared by user.

    A program that holds connections takes them from the same user's other programs; root and the
    service's own user, who control the service anyway, always find a seat.

    Parameters
    ----------
    total
        How many there are.
    kept
        Of these, for root and the service's own user; the last one for root alone.
    each
        How many any other user may have.
    """

    def __init__(self, total: int, *, kept: int, each: int) -> None:
        self._total = total
        self._kept = kept
        self._each = each
        self._taken: Counter[int] = Counter()

    def take(self, uid: int) -> bool:
        """Take one; return whether there is one for this user."""
        is_ours = uid in (0, os.geteuid())
        kept = 0 if uid == 0 else 1 if is_ours else self._kept
        if self._taken.total() >= self._total - kept:
            return False
        if not is_ours and self._taken[uid] >= self._each:
            return False
        self._taken[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        """Give one back."""
        self._taken[uid] -= 1
        if not self._taken[uid]:
            del self._taken[uid]


def uid_of(connection: socket.socket) -> int:
    """Return the user whose program has connected (SO_PEERCRED).

    Raises
    ------
    OSError
        It is gone.
    """
    sent = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    return int(_PEERCRED.unpack(sent)[1])
