"""A source whose child does what a test says, when it says so."""

import fcntl
import os
import select
import sys
import termios
from dataclasses import replace

from edgerec.audio import Block, DeviceFrame, StreamHeader
from edgerec.capture.child import ChildLimits, ChildSource
from edgerec.wire.blocks import encode_block, encode_stream_header
from tests.rigs.fakes import S
from tests.rigs.waiting import PATIENCE_S, wait_for

LIMITS = ChildLimits()
HEADER = StreamHeader(48_000, 1, "user", "mic", "monotonic_raw")
SERVED = replace(HEADER, device="pulse:mic", source="mic")
PAIR_NS = 2 * 4_800 * S // HEADER.sample_rate  # two of the blocks that `block` makes


def block(first_frame=0, frames=4_800, arrived_ns=0):
    return Block(DeviceFrame(first_frame), frames, arrived_ns, 0, 0, bytes(2 * frames))


class Rig:
    """A source whose child writes what the test puts into a FIFO, then says and exits as told."""

    def __init__(self, folder, limits=None, *, patient=False):
        self.fifo = folder / "fifo"
        self.last_line = folder / "last_line"
        os.mkfifo(self.fifo)
        self.say("")
        script = 'cat "$0"; cat "$1" >&2; exit 3'
        command = ["/bin/sh", "-c", script, str(self.fifo), str(self.last_line)]
        self.source = ChildSource("user", command, {}, now_ns=0, limits=limits, patient=patient)
        self.pipe = None

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self.pipe is not None:
            os.close(self.pipe)
        self.source.close()

    def say(self, last_line):
        self.last_line.write_text(last_line)

    def start(self, now_ns):
        """Have the source start a child, and connect to it.

        By a FIFO of its own: `cat` of a child before it that is killed, but has had no processor
        since, would take what comes first.
        """
        self.fifo.unlink()
        os.mkfifo(self.fifo)
        deliveries = self.source.deliver(now_ns)
        assert self.source.fileno() is not None  # or nobody would ever connect
        self.pipe = os.open(self.fifo, os.O_WRONLY)
        return deliveries

    def write(self, *messages):
        for message in messages:
            os.write(self.pipe, encode(message))

    def pass_on(self, *messages):
        """Write, and wait until the child has passed it all on."""
        self.write(*messages)
        size = sum(len(encode(one)) for one in messages)

        def is_there():
            held = fcntl.ioctl(self.source.fileno(), termios.FIONREAD, bytes(4))
            return int.from_bytes(held, sys.byteorder) >= size

        wait_for(is_there)

    def read(self, now_ns, count=1):
        """Deliver until there are `count` deliveries."""
        deliveries = []
        while len(deliveries) < count:
            readable, _, _ = select.select([self.source.fileno()], [], [], PATIENCE_S)
            assert readable, f"nothing to read; so far {deliveries}"
            deliveries += self.source.deliver(now_ns)
        return deliveries

    def end(self):
        """Let the child run to its end."""
        os.close(self.pipe)
        self.pipe = None
        await_exit(self.source)

    def fail(self, now_ns):
        """Start a child that ends without a frame; return what is delivered of it."""
        deliveries = self.start(now_ns)
        self.end()
        return deliveries + self.source.deliver(now_ns)


def encode(message):
    if isinstance(message, bytes):
        return message
    if isinstance(message, StreamHeader):
        return encode_stream_header(message)
    return encode_block(message)


def await_exit(source):
    """Wait until a source's child has ended, and leave it to the source to reap it."""
    os.waitid(os.P_PID, source._child.pid, os.WEXITED | os.WNOWAIT)


def look_twice(source, now_ns):
    """Deliver as long after the last time as that may be: such a look alone tells no stall."""
    return source.deliver(now_ns) + source.deliver(now_ns)


def until_told(source, now_ns=0):
    """Deliver until there is something; return that."""
    while not (deliveries := source.deliver(now_ns)):
        if source.fileno() is not None:
            select.select([source.fileno()], [], [], PATIENCE_S)
        else:
            await_exit(source)
    return deliveries
