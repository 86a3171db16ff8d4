"""Readers of live audio, and taps with a control thread that tests step by hand."""

import contextlib
import json
import socket

import numpy as np

from edgerec.audio import Block, BlockFlags, DeviceFrame, StreamHeader
from edgerec.service.control.commands import tap_command
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.service.taps import Taps
from edgerec.wire.blocks import Decoder, WireError
from tests.rigs.fakes import FakeClock
from tests.rigs.waiting import PATIENCE_S

RATE = 48_000
BLOCK = 4_800
RECEIVED_BYTES = 8_192  # by a listener at a time
REPLY = b'{"id": 1, "ok": true, "result": {}}\n'
REQUEST = b'{"id": 1, "command": "tap", "args": {"track": "%s"}}\n'
USER = StreamHeader(RATE, 1, "user", "mic", "monotonic_raw")
BOT = StreamHeader(RATE, 2, "bot", "loopback", "monotonic_raw")


class Reader:
    """A client that listens."""

    def __init__(self, service, what="user"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(service.path))
        self.socket.setblocking(False)
        self.decoder = Decoder()
        self.reply = b""
        self.last = None
        self.at_end = False
        self.ask(service, what)

    def ask(self, service, what):
        """Ask for a tap, and have that answered."""
        self.socket.sendall(REQUEST % what.encode())
        self.reply = b""
        while not self.reply.endswith(b"\n") and not self.at_end:
            service.step()
            with contextlib.suppress(BlockingIOError):
                self.reply += self.socket.recv(1)

    def read(self):
        """Return all messages that have come; `last` is the line that ended them."""
        messages = []
        while (data := self._receive()) is not None:
            try:
                messages += self.decoder.feed(data)
            except WireError:
                self.last = json.loads(self.decoder.rest)
        return messages

    def _receive(self):
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return None
        self.at_end = not data
        return data or None


class Service:
    """Taps on a control socket, and two devices."""

    def __init__(self, path, stack):
        self.path = path
        self.clock = FakeClock()
        self.taps = Taps(self.clock)
        listening = stack.enter_context(ControlSocket(path))
        self.control = Control(listening, {"tap": tap_command(self.taps)}, self.clock)
        stack.callback(self.control.close)
        self._sent = {"user": 0, "bot": 0}

    def open(self, header):
        self._sent[header.track] = 0
        self.taps.delivered(header.track, header)

    def deliver(self, header, pcm=None, frames=BLOCK, lost=0):
        first = self._sent[header.track] + lost
        self._sent[header.track] = first + frames
        flags = BlockFlags(0) if first else BlockFlags.NEW_STREAM
        pcm = bytes(2 * header.channels * frames) if pcm is None else pcm
        block = Block(DeviceFrame(first), frames, self.clock.raw_ns, 0, flags, pcm)
        self.taps.delivered(header.track, block)
        return block

    def step(self):
        self.control.step(0)


def noise(seed, samples=BLOCK):
    return np.random.default_rng(seed).integers(-999, 999, samples, dtype="<i2").tobytes()


@contextlib.contextmanager
def serving(taps, path, clock):
    """Run the control thread of taps."""
    commands = {"tap": tap_command(taps)}
    with ControlSocket(path) as listening, Control(listening, commands, clock):
        yield


class Listener:
    """A client of a tap of a recorder that runs; `frames` came so far, none before `admitted`."""

    def __init__(self, path, what):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(path))
        self.socket.sendall(REQUEST % what.encode())
        self.frames = 0
        self.admitted = False
        self.last = b""

    def listen(self):
        """Read to the end, and keep the last line."""
        decoder = Decoder()
        assert self.socket.recv(len(REPLY), socket.MSG_WAITALL) == REPLY
        self.admitted = True
        while data := self.socket.recv(RECEIVED_BYTES):
            try:
                for message in decoder.feed(data):
                    self.frames += getattr(message, "frames", 0)
            except WireError:
                self.last = decoder.rest
