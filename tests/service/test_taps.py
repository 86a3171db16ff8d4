"""Live audio out of the service: readers that read, that don't, that go away; fifty at once."""

import contextlib
import json
import os
import socket

import pytest

from edgerec.audio import Block, GapReason, StreamEnded, StreamHeader
from edgerec.service.control import server
from edgerec.service.control.commands import tap_command
from edgerec.service.control.server import KEPT_SEATS, MAX_TAPS, TAPS_EACH
from edgerec.service.taps import MAX_WAITING_BYTES, QUEUE_BLOCKS
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import S
from tests.rigs.tap_rig import BLOCK, BOT, RATE, REPLY, USER, Reader, Service, noise
from tests.rigs.waiting import wait_for


@pytest.fixture
def service(socket_path):
    with contextlib.ExitStack() as stack:
        yield Service(socket_path, stack)


def test_a_reader_is_answered_and_gets_each_block_as_it_came(service):
    service.open(USER)
    reader = Reader(service)
    service.step()
    for number in range(20):
        block = service.deliver(USER, noise(number))
        service.step()
        assert reader.read() == ([USER, block] if number == 0 else [block])
    assert reader.reply == REPLY


def test_each_track_has_its_own_readers(service):
    service.open(USER)
    service.open(BOT)
    user, bot = Reader(service), Reader(service, "bot")
    blocks = [service.deliver(USER), service.deliver(BOT)]
    service.step()
    assert user.read() == [USER, blocks[0]]
    assert bot.read() == [BOT, blocks[1]]


def test_who_comes_in_the_middle_gets_the_header_and_what_follows(service):
    service.open(USER)
    service.deliver(USER)
    service.step()
    reader = Reader(service)
    block = service.deliver(USER)
    service.step()
    assert reader.read() == [USER, block]
    assert block.first_frame == BLOCK


def test_a_device_that_comes_back_is_a_new_stream_and_the_tap_stays_open(service):
    service.open(USER)
    reader = Reader(service)
    before = service.deliver(USER)
    service.taps.delivered("user", StreamEnded(GapReason.ABSENT, "unplugged"))
    other = StreamHeader(44_100, 1, "user", "mic", "monotonic_raw")
    service.open(other)
    after = service.deliver(other)
    service.step()
    assert reader.read() == [USER, before, other, after]


def test_while_nobody_listens_nothing_is_kept(service):
    service.open(USER)
    for _ in range(2 * QUEUE_BLOCKS):
        service.deliver(USER)
    assert service.taps.lost_blocks == 0
    reader = Reader(service)
    service.step()
    assert reader.read() == []


def fill(service, seconds):
    """Let a device deliver for so long; return how many blocks that were."""
    blocks = round(seconds * RATE / BLOCK)
    for number in range(blocks):
        service.deliver(USER, noise(number))
        service.step()
    return blocks


def test_a_reader_that_stops_is_cut_off_on_a_block_s_border_and_told_why(service, caplog):
    service.open(USER)
    slow, other = Reader(service), Reader(service)
    heard = []
    for number in range(300):
        service.deliver(USER, noise(number))
        service.step()
        heard += other.read()
    assert len(heard) == 301
    assert service.taps.count == 1
    assert "tap cut off, it does not read of=user" in caplog.text
    messages = slow.read()  # what the kernel kept, which had room for the last line
    service.step()
    messages += slow.read()
    assert slow.at_end
    assert slow.last["ok"] is False
    assert slow.last["error"]["code"] == "too_slow"
    assert slow.last["error"]["hint"]
    blocks = [message for message in messages if isinstance(message, Block)]
    assert [block.first_frame for block in blocks] == [n * BLOCK for n in range(len(blocks))]
    assert all(block.pcm == noise(number) for number, block in enumerate(blocks))


def test_one_that_was_cut_off_and_never_reads_is_closed_all_the_same(service):
    service.open(USER)
    Reader(service)
    reader = Reader(service)
    fill(service, 30)
    service.clock.raw_ns += 11 * S
    service.step()
    assert service.taps.count == 0
    reader.read()
    assert reader.at_end


def test_it_is_closed_though_nothing_else_happens(service, monkeypatch):
    monkeypatch.setattr(server, "TICK_S", 0.01)
    service.open(USER)
    reader = Reader(service)
    fill(service, 30)
    assert service.taps.count == 0
    with service.control:
        service.clock.raw_ns += 11 * S
        wait_for(lambda: reader.read() is not None and reader.at_end)


def test_a_reader_that_is_late_but_reads_misses_nothing(service):
    service.open(USER)
    reader = Reader(service)
    seconds = MAX_WAITING_BYTES / (2 * RATE) - 1
    blocks = fill(service, seconds)
    messages = []
    while len(messages) <= blocks:
        more = reader.read()
        service.step()
        assert more or len(messages) > blocks
        messages += more
    assert len(messages) == blocks + 1


def test_a_reader_that_goes_away_is_forgotten(service):
    service.open(USER)
    reader = Reader(service)
    service.deliver(USER)
    service.step()
    reader.socket.close()
    service.step()
    assert service.taps.count == 0
    fill(service, 1)


def test_fifty_readers_of_which_half_never_read_keep_memory_bounded(service):
    service.open(USER)
    readers = [Reader(service) for _ in range(50)]
    messages = [[] for _ in readers[::2]]
    for number in range(600):  # a minute
        service.deliver(USER, noise(number))
        service.step()
        for heard, reader in zip(messages, readers[::2], strict=True):
            heard += reader.read()
    assert all(len(heard) == 601 for heard in messages)
    assert service.taps.count == 25
    # Those that were cut off hold no more than the rest of one block each.
    cut_off = [client for client in service.control._clients.values() if client.leaving]
    assert all(len(client._unsent) < 3 * BLOCK for client in cut_off)


def test_more_than_there_are_seats_for_are_refused_and_keep_their_connection(service):
    seats = MAX_TAPS if os.geteuid() == 0 else MAX_TAPS - 1  # the last one is for root
    readers = [Reader(service, "mix") for _ in range(seats)]
    assert all(reader.reply == REPLY for reader in readers)
    late = Reader(service, "mix")
    told = json.loads(late.reply)
    assert (told["id"], told["error"]["code"]) == (1, "busy")
    assert told["error"]["message"] == f"{MAX_TAPS} taps are open"
    readers[0].socket.close()
    service.step()
    late.ask(service, "mix")  # a seat is free again
    assert late.reply == REPLY


def test_a_user_who_taps_all_the_time_leaves_seats_to_others_and_to_the_operator(
    service, monkeypatch
):
    users, readers = [], []
    monkeypatch.setattr(server, "uid_of", lambda connection: users[-1])
    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    def taken(uid):
        users.append(uid)
        readers.append(Reader(service, "mix"))
        if readers[-1].reply == REPLY:
            return True
        readers.pop().socket.close()
        service.step()
        return False

    assert sum(taken(1001) for _ in range(MAX_TAPS)) == TAPS_EACH
    assert sum(taken(1002) for _ in range(MAX_TAPS)) == MAX_TAPS - KEPT_SEATS - TAPS_EACH
    assert not taken(1003)
    assert [taken(4711), taken(4711), taken(0), taken(0)] == [True, False, True, False]
    readers[0].socket.close()
    service.step()
    assert taken(0)  # the seat is given back


def test_what_a_reader_sends_is_not_read_and_one_that_says_no_more_still_listens(service):
    service.open(USER)
    reader = Reader(service)
    reader.socket.sendall(b'{"command": "tap"}\n' * 9)
    reader.socket.shutdown(socket.SHUT_WR)
    service.clock.raw_ns += 3_600 * S
    blocks = [service.deliver(USER, noise(number)) for number in range(3)]
    for _ in range(9):
        service.step()
    assert reader.read() == [USER, *blocks]


def test_what_nobody_heard_is_not_for_the_next_reader(service):
    service.open(USER)
    first = Reader(service)
    service.deliver(USER, noise(0))
    first.socket.close()
    service.step()
    service.taps._heard = frozenset(["user"])  # as the recorder thread saw it a moment ago
    service.deliver(USER, noise(1))
    late = Reader(service)
    block = service.deliver(USER, noise(2))
    service.step()
    assert late.read() == [USER, block]


@pytest.mark.parametrize("args", [{}, {"track": "both"}, {"track": 1}, {"trak": "user"}])
def test_a_wrong_request_is_refused_with_what_there_is(service, args):
    with pytest.raises(RefusedError) as refused:
        tap_command(service.taps)(args)
    assert refused.value.code == "bad_args"


def test_the_end_of_the_service_is_told_to_every_reader(service):
    service.open(USER)
    readers = [Reader(service), Reader(service, "mix")]
    with service.control:
        service.deliver(USER)
    for reader in readers:
        reader.read()
        assert reader.last["error"]["code"] == "stopped"
        assert reader.at_end
    assert service.taps.count == 0


def test_a_block_nobody_has_time_for_is_counted_and_shows_in_the_next_one_s_position(service):
    service.open(USER)
    reader = Reader(service)
    service.step()
    for _ in range(QUEUE_BLOCKS + 5):
        service.deliver(USER, frames=10)
    service.step()
    service.deliver(USER, frames=10)
    messages = []
    while len(messages) < QUEUE_BLOCKS + 2:
        service.step()
        messages += reader.read()
    assert service.taps.lost_blocks == 5
    assert messages[-1].first_frame - messages[-2].first_frame == 60
