"""The control thread: requests from the Unix socket in; answers, events and live audio out.

One thread for all clients, which waits for none of them: a client that is slow, silent or sends
rubbish is cut off, and costs the others nothing.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections.abc import Mapping
from typing import Final, Self

from edgerec.clock import Clock
from edgerec.service.control.connection import (
    MAX_LINE_BYTES,
    Connection,
    LineTooLongError,
    Seats,
    uid_of,
)
from edgerec.service.control.protocol import Answer, Command, Stream, answer
from edgerec.service.control.socket import ControlSocket
from edgerec.session.threads import ThreadMaker
from edgerec.waker import Waker
from edgerec.wire.messages import RefusedError, error_line

log = logging.getLogger(__name__)

MAX_CLIENTS: Final = 32
CLIENTS_EACH: Final = 15  # of any other user: two of them leave those to others
MAX_TAPS: Final = 64
TAPS_EACH: Final = 31
KEPT_SEATS: Final = 2  # of either, for root and the service's own user; the last for root alone
MESSAGES_AT_ONCE: Final = 64  # to one client, before the others have their turn
TICK_S: Final = 1.0  # an overdue client is noticed at most this late


class Control:
    """Answers requests in a thread of its own; a context manager that ends it.

    Each client has one request answered, or `MESSAGES_AT_ONCE` messages sent, in its turn.

    Parameters
    ----------
    listening
        The listening socket; closed by its owner, after the thread has ended.
    commands
        The commands by name; they run in the control thread.
    """

    def __init__(
        self,
        listening: ControlSocket,
        commands: Mapping[str, Command],
        clock: Clock,
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._listener = listening.listener
        self._commands = commands
        self._clock = clock
        self._clients: dict[int, Connection] = {}  # by descriptor
        self._seats = Seats(MAX_CLIENTS, kept=KEPT_SEATS, each=CLIENTS_EACH)
        self._tap_seats = Seats(MAX_TAPS, kept=KEPT_SEATS, each=TAPS_EACH)
        self._stopping = False
        self._waker = Waker()
        self._ready = select.epoll()
        self._ready.register(self._waker, select.EPOLLIN)
        self._ready.register(self._listener, select.EPOLLIN)
        self._thread = make_thread(target=self._run, name="control")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering, and say so to those who listen to audio."""
        self._stopping = True
        self._waker.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Disconnect everybody; the thread must have ended."""
        for client in list(self._clients.values()):
            if client.only_listens:
                with contextlib.suppress(OSError):
                    self._dismiss(client, "stopped", "the service has ended", "")
            self._drop(client)
        self._ready.close()
        self._waker.close()

    def step(self, timeout_s: float | None) -> None:
        """Wait for something to do, and do it."""
        for descriptor, events in self._ready.poll(timeout_s):
            client = self._clients.get(descriptor)
            if descriptor == self._listener.fileno():
                self._accept()
            elif client is not None:
                is_gone = bool(events & (select.EPOLLHUP | select.EPOLLERR))
                self._attend(client, is_gone=is_gone)
        self._waker.clear()
        for client in list(self._clients.values()):
            if client.messages is not None:
                self._attend(client, passing_on=True)
            if client.overdue(self._clock.now_ns()):
                self._drop(client)

    def _run(self) -> None:
        while not self._stopping:
            self.step(TICK_S if self._clients else None)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # it is gone again, or we have no descriptor left
            log.warning("control client not accepted why=%r", str(error))
            return
        try:
            uid = uid_of(connection)
        except OSError:  # it is gone again
            connection.close()
            return
        if self._seats.take(uid):
            self._admit(Connection(connection, uid, self._seats, self._clock.now_ns()))
            return
        connection.setblocking(False)
        told = error_line(None, "busy", f"{MAX_CLIENTS} clients are connected", "try again later")
        with contextlib.suppress(OSError):  # it is disconnected in any case
            connection.send(told)
        connection.close()

    def _attend(
        self, client: Connection, *, is_gone: bool = False, passing_on: bool = False
    ) -> None:
        """Do for a client what can be done without waiting."""
        try:
            if passing_on:
                self._pass_on(client)
            elif client.owed:
                client.send(self._clock.now_ns())
            elif not client.only_listens:
                is_gone = not self._heed(client)
        except OSError:  # it is gone, which is its right
            is_gone = True
        if self._clients.get(client.socket.fileno()) is not client:
            return  # another thread has it by now
        if is_gone or (client.leaving and not client.owed):
            self._drop(client)
        else:
            self._watch(client)

    def _heed(self, client: Connection) -> bool:
        """Answer one request; return whether more may come."""
        try:
            line = client.next_line()
            if line is None:
                if not client.receive():
                    return False
                line = client.next_line()
        except LineTooLongError:
            told = f"a request of more than {MAX_LINE_BYTES} bytes"
            self._dismiss(client, "malformed", told, "end each request with a newline")
            return True
        if line is not None:
            self._answer(client, answer(line, self._commands))
        return True

    def _answer(self, client: Connection, answered: Answer) -> None:
        line = answered.line
        try:
            if answered.takeover is not None:
                self._hand_over(client, answered)
                return
            if answered.stream is not None:
                self._follow(client, answered.stream)  # first: nothing after the answer is missed
        except RefusedError as error:
            line = error_line(answered.request_id, error.code, str(error), error.hint)
        client.say(line, self._clock.now_ns())

    def _hand_over(self, client: Connection, answered: Answer) -> None:
        """Give the connection to another thread."""
        assert answered.takeover is not None
        self._forget(client)  # first: from the takeover on, the other thread uses it
        try:
            answered.takeover.take(client.socket, client.rest(), answered.line)
        except RefusedError:
            self._admit(client)
            raise
        client.seats.leave(client.uid)

    def _follow(self, client: Connection, stream: Stream) -> None:
        """Send a client these messages from now on."""
        if stream.is_audio:
            if not self._tap_seats.take(client.uid):
                raise RefusedError("busy", f"{MAX_TAPS} taps are open", "close one of them")
            client.seats.leave(client.uid)
            client.seats = self._tap_seats
        client.follow(stream.open(self._waker.set), only=stream.is_audio)

    def _pass_on(self, client: Connection) -> None:
        """Send what has come for a client, or that it reads too slowly."""
        assert client.messages is not None
        for _ in range(MESSAGES_AT_ONCE):
            if client.messages.missed:
                told = "more was waiting than is kept for a reader"
                self._dismiss(client, "too_slow", told, "read all the time, or ask for less")
                return
            if client.owed or (message := client.messages.take()) is None:
                return
            client.say(message, self._clock.now_ns())
        self._waker.set()  # for the rest, once the others have had their turn

    def _dismiss(self, client: Connection, code: str, message: str, hint: str) -> None:
        client.say_last(error_line(None, code, message, hint), self._clock.now_ns())

    def _admit(self, client: Connection) -> None:
        self._clients[client.socket.fileno()] = client
        client.watched = select.EPOLLIN
        self._ready.register(client.socket, client.watched)

    def _watch(self, client: Connection) -> None:
        wanted = 0 if client.only_listens else select.EPOLLIN
        if client.owed or client.asks:
            wanted = select.EPOLLOUT  # what it has asked for comes before what it may still ask
        if wanted != client.watched:
            client.watched = wanted
            self._ready.modify(client.socket, wanted)

    def _forget(self, client: Connection) -> None:
        self._ready.unregister(client.socket)
        del self._clients[client.socket.fileno()]
        client.forget_messages()

    def _drop(self, client: Connection) -> None:
        if self._clients.get(client.socket.fileno()) is client:
            self._forget(client)
            client.seats.leave(client.uid)
            client.socket.close()
