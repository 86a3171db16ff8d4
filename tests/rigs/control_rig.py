"""A control thread with commands for tests, and its clients."""

import contextlib
import json
import socket
import threading

from edgerec.service.control.protocol import Takeover
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import FakeClock
from tests.rigs.waiting import PATIENCE_S


def big(args):
    return {"text": "x" * int(args["bytes"])}


def broken(args):
    raise RuntimeError("a fault of ours")


def refused(args):
    def take(connection, received, reply):
        raise RefusedError("busy", "somebody else has it", "wait")

    return Takeover(take)


class Service:
    """A control thread with commands for tests."""

    def __init__(self, path, stack):
        self.clock = FakeClock()
        self.taken = []
        self.was_taken = threading.Event()
        self._is_held, self._let_go = threading.Event(), threading.Event()
        self.commands = {
            "echo": lambda args: args,
            "big": big,
            "broken": broken,
            "refused": refused,
            "take": lambda args: Takeover(self._take),
            "hold": self._hold,
        }
        listening = stack.enter_context(ControlSocket(path))
        self.control = stack.enter_context(Control(listening, self.commands, self.clock))
        self._path = path
        self._stack = stack

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stack.callback(client.close)
        client.connect(str(self._path))  # waits while too many are waiting already
        client.settimeout(PATIENCE_S)
        return client

    @contextlib.contextmanager
    def held(self):
        """Hold the control thread."""
        client = self.connect()
        client.sendall(b'{"command": "hold"}\n')
        assert self._is_held.wait(PATIENCE_S)
        yield
        self._let_go.set()
        assert read_line(client)["ok"]

    def _hold(self, args):
        self._is_held.set()
        assert self._let_go.wait(PATIENCE_S)
        return {}

    def _take(self, connection, received, reply):
        self._stack.callback(connection.close)
        self.taken.append((connection, received, reply))
        self.was_taken.set()


def serving(socket_path):
    """A fixture: the service, until its test has ended."""
    with contextlib.ExitStack() as stack:
        yield Service(socket_path, stack)


def ask(client, request):
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    client.sendall(line + b"\n")
    return read_line(client)


def read_line(client):
    received = b""
    while not received.endswith(b"\n"):
        data = client.recv(65_536)
        if not data:
            return None
        received += data
    return json.loads(received)


def echo(number):
    return {"id": number, "command": "echo", "args": {"n": number}}


def echoed(number):
    return {"id": number, "ok": True, "result": {"n": number}}


def closed(client):
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True
