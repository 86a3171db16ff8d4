"""A full pipe costs whole blocks, and the stream says how many frames."""

import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import Block, BlockFlags, StreamHeader
from edgerec.clock import ClockReading
from edgerec.wire.blocks import Decoder
from edgerec.wire.pipe import PIPE_BYTES, BlockPipe, BlockSender

HEADER = StreamHeader(48_000, 1, "user", "mic", "monotonic_raw")
SMALLEST_PIPE_BYTES = 4096


class FixedClock:
    """A wall clock 1,000 s ahead of CLOCK_MONOTONIC_RAW, where it is always 5 s."""

    def now_ns(self):
        return 5_000_000_000

    def read(self):
        return ClockReading(5_000_000_000, 0, 1_005_000_000_000, True, 0.0)


class Reader:
    """The recorder's end of the pipe."""

    def __init__(self, fd):
        self.fd = fd
        self.decoder = Decoder()
        self.messages = []
        os.set_blocking(fd, False)

    def read(self, size=1 << 20):
        try:
            self.messages += self.decoder.feed(os.read(self.fd, size))
        except BlockingIOError:
            return

    @property
    def blocks(self):
        return [message for message in self.messages if isinstance(message, Block)]


@pytest.fixture
def pipe():
    with Ends() as ends:
        yield ends


class Ends:
    """A pipe, and both of its ends closed afterwards."""

    def __enter__(self):
        read_fd, self.write_fd = os.pipe()
        self.reader = Reader(read_fd)
        self.sender = BlockSender(BlockPipe(self.write_fd), HEADER, FixedClock())
        return self

    def shrink(self):
        fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)

    def send(self, frames, *, overflow=False, arrived_ns=1, value=0):
        pcm = bytes([value % 256]) * (2 * frames)
        self.sender.send(pcm, frames, arrived_ns, 0, overflow=overflow)

    def close_reader(self):
        os.close(self.reader.fd)
        self.reader = None

    def __exit__(self, *_):
        os.close(self.write_fd)
        if self.reader is not None:
            os.close(self.reader.fd)


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 9_000)), min_size=1, max_size=60))
def test_whatever_the_reader_does_every_frame_is_delivered_or_counted_as_dropped(steps):
    with Ends() as pipe:
        pipe.shrink()
        sent = 0
        expected = {}
        for number, (frames, read_bytes) in enumerate(steps):
            expected[sent] = (frames, bytes([number % 256]) * (2 * frames))
            pipe.send(frames, value=number)
            sent += frames
            if read_bytes:
                pipe.reader.read(read_bytes)
        while pipe.reader.decoder.unfinished or sent not in ends_of(pipe.reader.blocks):
            pipe.reader.read()  # the sender finishes a message only when it has another to send
            expected[sent] = (1, b"\1\1")
            pipe.send(1, value=1)
            sent += 1
            pipe.reader.read()
        position = 0
        for block in pipe.reader.blocks:
            assert expected[block.first_frame] == (block.frames, block.pcm)
            lost = block.first_frame - position
            assert lost >= 0
            assert bool(block.flags & BlockFlags.DROPPED) == (lost > 0)
            position = block.first_frame + block.frames
        assert position == sent


def ends_of(blocks):
    return {block.first_frame + block.frames for block in blocks}


def test_the_header_line_comes_first_and_tells_the_wall_clock_of_the_first_block(pipe):
    pipe.send(10, arrived_ns=3_000_000_000)
    pipe.send(10, arrived_ns=4_000_000_000)
    pipe.reader.read()
    header, *blocks = pipe.reader.messages
    # The block arrived 2 s before the clock was read, which then said 1,005 s.
    assert header.utc_ns == 1_003_000_000_000
    assert [block.first_frame for block in blocks] == [0, 10]


def test_only_the_first_block_begins_a_new_stream(pipe):
    pipe.send(10)
    pipe.send(10)
    pipe.reader.read()
    assert [block.flags for block in pipe.reader.blocks] == [BlockFlags.NEW_STREAM, 0]


def test_an_overflow_of_a_block_that_was_dropped_is_told_by_the_next(pipe):
    pipe.shrink()
    pipe.send(100)
    pipe.send(3_000)  # more than the pipe has room for: a part of it is on its way
    pipe.send(10, overflow=True)
    while len(pipe.reader.blocks) < 3:
        pipe.reader.read()
        pipe.send(10)
    after = pipe.reader.blocks[2]
    assert after.flags == BlockFlags.OVERFLOW | BlockFlags.DROPPED
    assert after.first_frame >= 3_110


def test_the_pipe_is_made_as_large_as_the_system_allows(pipe):
    assert fcntl.fcntl(pipe.write_fd, fcntl.F_GETPIPE_SZ) == PIPE_BYTES


def test_a_file_takes_the_stream_as_well_as_a_pipe(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        BlockSender(BlockPipe(file.fileno()), HEADER, FixedClock()).send(
            b"\0\0", 1, 1, 0, overflow=False
        )
    assert len(list(Decoder().feed((tmp_path / "x").read_bytes()))) == 2


def test_a_reader_that_is_gone_is_an_error(pipe):
    pipe.close_reader()
    with pytest.raises(BrokenPipeError):
        pipe.send(10)
