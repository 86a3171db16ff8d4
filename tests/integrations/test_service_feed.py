"""What an adapter sends to the running service."""

from pathlib import Path

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.integrations import target
from edgerec.wire.blocks import Decoder

PCM = b"\1\2" * 160  # 10 ms at 16 kHz


@pytest.fixture
def connections(monkeypatch):
    made = []

    class Connection:
        def __init__(self, paths):
            self.sent, self.asked = b"", []
            made.append(self)

        def request(self, command, args):
            self.asked.append((command, args))

        def send(self, data):
            self.sent += data

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(target, "ServiceConnection", Connection)
    return made


def test_a_stream_begins_with_each_format_and_each_stamp_that_does_not_follow(connections):
    feed = target.ServiceFeed([Path("control.sock")], "bot", live=False)
    for at_ns in (10**9, 10**9 + 10_000_000, 2 * 10**9):
        feed.push(PCM, 16_000, 1, at_ns)
    feed.push(PCM, 48_000, 2, 2 * 10**9 + 10_000_000)
    messages = list(Decoder().feed(connections[0].sent))
    kinds = [type(message) for message in messages]
    assert kinds == [StreamHeader, Block, Block, StreamHeader, Block, StreamHeader, Block]
    blocks = [message for message in messages if isinstance(message, Block)]
    assert [block.first_frame for block in blocks] == [0, 160, 0, 0]
    assert blocks[0].arrived_ns == 10**9 + 10_000_000  # of its end


def test_live_audio_is_one_stream_without_times(connections):
    feed = target.ServiceFeed([Path("control.sock")], "user", live=True)
    feed.push(PCM, 16_000, 1)
    feed.push(PCM, 16_000, 1)
    header, *blocks = Decoder().feed(connections[0].sent)
    assert header.live
    assert [(block.first_frame, block.arrived_ns) for block in blocks] == [(0, 0), (160, 0)]


def test_a_clear_does_not_wait_behind_the_feed(connections):
    feed = target.ServiceFeed([Path("control.sock")], "bot", live=False)
    feed.clear(7)
    assert connections[0].asked == [("feed", {"track": "bot"})]
    assert connections[1].asked == [("clear", {"track": "bot", "at_ns": 7})]
