"""The control thread: requests from the Unix socket in, answers out.

One thread for all clients, which waits for none of them: a client that is slow, silent or sends
rubbish is cut off, and costs the others nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Mapping
from typing import Final, Self

from edgerec.clock import Clock
from edgerec.service.control.connection import (
    MAX_LINE_BYTES,
    ControlClient,
    LineTooLongError,
)
from edgerec.service.control.protocol import Command, answer
from edgerec.service.control.socket import ControlSocket
from edgerec.service.peers import MAX_CLIENTS, REQUESTS_PER_S, Peers, uid_of
from edgerec.session.threads import ThreadMaker
from edgerec.wire.messages import RefusedError, error_line

log = logging.getLogger(__name__)

_TOO_FAST: Final = (
    f"more than {REQUESTS_PER_S} requests a second",
    "send fewer requests, all over one connection, or subscribe",
)
EVENTS_AT_ONCE: Final = 64  # in one message to a subscriber
TICK_S: Final = 1.0  # an overdue client is noticed at most this late
RESPITE_NS: Final = 20_000_000
"""Time without accepting after a user who reconnects too fast: turning one away costs as much as an
answer."""


class Control:
    """Answers requests in a thread of its own; a context manager that ends it.

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
        self._listening = listening
        self._commands = commands
        self._clock = clock
        self._clients: set[ControlClient] = set()
        self._peers = Peers()
        self._accepting = True
        self._respite_ns = 0  # no client is accepted until then
        self._stopping = False
        self._waking = threading.Lock()  # an announcing thread may come late
        self._closed = False
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._woken, selectors.EVENT_READ)
        self._ready.register(listening.listener, selectors.EVENT_READ)
        self._thread = make_thread(target=self._run, name="control")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        for client in list(self._clients):
            self._drop(client)
        self._ready.close()
        with self._waking:
            self._closed = True
            os.close(self._woken)

    def step(self, timeout_s: float | None) -> None:
        """Wait for something to do, and do it."""
        for key, _ in self._ready.select(timeout_s):
            if key.fileobj is self._listening.listener:
                self._accept()
            elif isinstance(key.data, ControlClient) and key.data in self._clients:
                self._attend(key.data)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        for client in [client for client in self._clients if client.events is not None]:
            self._attend(client)
        now_ns = self._clock.now_ns()
        for client in [client for client in self._clients if client.overdue(now_ns)]:
            self._drop(client)
        if not self._accepting and now_ns >= self._respite_ns:
            self._accepting = True
            self._ready.register(self._listening.listener, selectors.EVENT_READ)

    def _wake(self) -> None:
        """Make the thread check for work; for any thread."""
        with self._waking:
            if not self._closed:
                os.eventfd_write(self._woken, 1)

    def _run(self) -> None:
        while not self._stopping:
            if self._accepting:
                self.step(TICK_S if self._clients else None)
            else:
                self.step(RESPITE_NS / 1e9)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.listener.accept()
        except OSError as error:  # it is gone again, or we have no descriptor left
            log.warning("control client not accepted why=%r", str(error))
            return
        now_ns = self._clock.now_ns()
        try:
            peer = self._peers.of(uid_of(connection), now_ns)
        except OSError:  # it is gone again
            connection.close()
            return
        told = "busy", f"{MAX_CLIENTS} clients are connected", "try again later"
        if peer is not None:
            if not self._peers.may_connect(peer, now_ns):
                told = "too_fast", *_TOO_FAST
                self._pause_accepting(now_ns)
            elif self._peers.seat(peer):
                allowance = self._peers.allowance(peer, now_ns)
                client = ControlClient(connection, now_ns, peer, allowance)
                self._clients.add(client)
                self._ready.register(connection, selectors.EVENT_READ, client)
                return
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # it is disconnected in any case
            connection.send(error_line(None, *told))
        connection.close()

    def _pause_accepting(self, now_ns: int) -> None:
        self._accepting = False
        self._respite_ns = now_ns + RESPITE_NS
        self._ready.unregister(self._listening.listener)

    def _attend(self, client: ControlClient) -> None:
        try:
            self._exchange(client)
        except OSError:  # it is gone, which is its right
            self._drop(client)

    def _exchange(self, client: ControlClient) -> None:
        """Send what is owed, then read and answer, one request after the other."""
        more = True
        if client.owed:
            client.send(self._clock.now_ns())
        else:
            more = client.receive()
        while client in self._clients and not client.owed:
            try:
                line = client.next_line()
            except LineTooLongError:
                told = f"a request of more than {MAX_LINE_BYTES} bytes"
                hint = "end each request with a newline"
                client.say(error_line(None, "malformed", told, hint), self._clock.now_ns())
                more = False
                break
            if line is None:
                break
            if not client.allowance.take(self._clock.now_ns()):
                client.say(error_line(None, "too_fast", *_TOO_FAST), self._clock.now_ns())
                more = False
                break
            self._answer(client, line)
        more = more and self._tell_events(client)
        if not more:
            self._drop(client)
        elif client in self._clients:
            events = selectors.EVENT_WRITE if client.owed else selectors.EVENT_READ
            self._ready.modify(client.connection, events, client)

    def _answer(self, client: ControlClient, line: bytes) -> None:
        answered = answer(line, self._commands)
        if answered.takeover is None:
            if answered.stream is not None:  # first: no event after the answer is missed
                client.forget_events()
                client.events = answered.stream.open(self._wake)
            client.say(answered.line, self._clock.now_ns())
            return
        # Out of our hands first: from the takeover on, another thread uses the connection.
        self._forget(client)
        try:
            answered.takeover.take(client.connection, client.rest(), answered.line)
        except RefusedError as error:
            self._clients.add(client)
            self._ready.register(client.connection, selectors.EVENT_READ, client)
            refusal = error_line(answered.request_id, error.code, str(error), error.hint)
            client.say(refusal, self._clock.now_ns())
        else:
            self._peers.leave(client.peer)

    def _tell_events(self, client: ControlClient) -> bool:
        """Send a subscriber one message of what has come; return whether more may come."""
        events = client.events
        if events is None or client.owed or client not in self._clients:
            return True
        if events.missed:
            told = f"{events.missed} events found no room: the reader is too slow"
            hint = "read faster, or subscribe to less"
            client.say(error_line(None, "too_slow", told, hint), self._clock.now_ns())
            return False
        lines = [line for _ in range(EVENTS_AT_ONCE) if (line := events.take()) is not None]
        if lines:
            client.say(b"".join(lines), self._clock.now_ns())
        if len(lines) == EVENTS_AT_ONCE:
            self._wake()  # for the rest, once the others have had their turn
        return True

    def _forget(self, client: ControlClient) -> None:
        self._ready.unregister(client.connection)
        self._clients.discard(client)
        client.forget_events()

    def _drop(self, client: ControlClient) -> None:
        if client in self._clients:
            self._forget(client)
            self._peers.leave(client.peer)
            client.connection.close()
