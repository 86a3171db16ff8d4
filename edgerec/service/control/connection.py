"""One client of the control socket: its requests, and the answers it has not taken yet.

Bounded both ways: a request that never ends and answers that are never read cost 64 KiB each.
"""

from __future__ import annotations

import socket
from typing import Final

from edgerec.service.control.protocol import Events
from edgerec.service.peers import Allowance, Peer

MAX_LINE_BYTES: Final = 64 * 1024  # requests have a hundred bytes
IDLE_NS: Final = 60 * 1_000_000_000  # between requests, and to finish one
SLOW_NS: Final = 10 * 1_000_000_000  # to take an answer; a program that reads takes none


class LineTooLongError(Exception):
    """The client sent a line that can't be a request."""


class ControlClient:
    """One connection, without blocking; for the control thread.

    Parameters
    ----------
    peer
        The user that the connection belongs to.
    allowance
        Limits its requests, perhaps together with those of other connections.
    """

    def __init__(
        self, connection: socket.socket, now_ns: int, peer: Peer, allowance: Allowance
    ) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.peer = peer
        self.allowance = allowance
        self._received = bytearray()
        self._unsent = b""
        self._deadline_ns = now_ns + IDLE_NS
        self.events: Events | None = None
        """Events sent to the client as they come; a subscriber need not make requests."""

    @property
    def owed(self) -> bool:
        """Whether an answer is not sent yet; no request is read before it is."""
        return bool(self._unsent)

    def overdue(self, now_ns: int) -> bool:
        """Whether the client has exceeded its time limit."""
        return now_ns >= self._deadline_ns and (self.owed or self.events is None)

    def forget_events(self) -> None:
        """Stop sending events to the client."""
        if self.events is not None:
            self.events.close()
            self.events = None

    def receive(self) -> bool:
        """Take in what came; return whether more may come.

        Raises
        ------
        OSError
            The client is gone.
        """
        try:
            data = self.connection.recv(MAX_LINE_BYTES)
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

    def say(self, line: bytes, now_ns: int) -> None:
        """Send an answer, or as much of it as the client takes.

        Raises
        ------
        OSError
            The client is gone.
        """
        self._unsent = line
        self._deadline_ns = now_ns + SLOW_NS
        self.send(now_ns)

    def send(self, now_ns: int) -> None:
        """Continue sending.

        Raises
        ------
        OSError
            The client is gone.
        """
        try:
            sent = self.connection.send(self._unsent)
        except BlockingIOError:
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._deadline_ns = now_ns + IDLE_NS

    def rest(self) -> bytes:
        """Return what was received after the last request."""
        return bytes(self._received)
