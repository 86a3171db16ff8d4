"""Through a child whose device may be another one: what is delivered of it, and what is told."""

import pytest

from edgerec.audio import Block, BlockFlags, GapReason, StreamEnded
from edgerec.capture.devices.device_verdict import SUSPECT_NS
from edgerec.capture.stream_guard import BEGINNING_NS, ENDED_NS, HOLD_NS, TrueRate
from tests.rigs.fake_child import HEADER, LIMITS, PAIR_NS, SERVED, block, look_twice, until_told
from tests.rigs.fakes import S


def test_the_first_block_behind_each_header_begins_a_stream_whether_or_not_the_child_says_so(child):
    child.start(0)
    child.write(HEADER, block(0), block(4_800), HEADER, block(0))
    flags = [message.flags for message in child.read(0, 5) if isinstance(message, Block)]
    assert flags == [BlockFlags.NEW_STREAM, 0, BlockFlags.NEW_STREAM]


def watched(child):
    """Have a child run that somebody vouches for; return its process id."""
    child.start(0)
    child.write(HEADER, block(0, arrived_ns=1 * S))
    child.read(1 * S, 2)
    pid = child.source.findings.opened.pid
    assert child.source.findings.opened.device == "mic"
    child.source.findings.vouch(pid)
    return pid


def test_the_newest_block_of_a_watched_device_waits_for_the_next_but_not_long(child):
    watched(child)
    child.pass_on(block(4_800), block(9_600, arrived_ns=2 * S))
    assert [one.first_frame for one in child.source.deliver(2 * S)] == [4_800]
    assert child.source.deliver(2 * S + HOLD_NS) == []
    (held,) = child.source.deliver(2 * S + HOLD_NS + 1)
    assert held.first_frame == 9_600


def test_a_block_that_has_waited_in_the_pipe_long_enough_is_not_kept(child):
    watched(child)
    child.write(block(4_800, arrived_ns=2 * S))
    (newest,) = child.read(2 * S + HOLD_NS + 1)
    assert newest.first_frame == 4_800


def test_a_device_that_was_swapped_is_killed_and_what_it_delivered_since_is_dropped(child):
    pid = watched(child)
    child.pass_on(block(4_800, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    child.source.findings.suspect(2 * S)
    child.pass_on(block(9_600, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    child.source.findings.accuse(pid, "another source")
    (ended,) = child.source.deliver(2 * S)
    assert ended == StreamEnded(GapReason.SOURCE, "another source")
    assert child.source.state.name == "absent"
    child.end()
    assert child.source.deliver(2 * S) == []
    assert child.source.findings.opened is None
    child.start(3 * S)  # an accusation is of one child only
    child.write(HEADER, block(0))
    assert len(child.read(3 * S, 2)) == 2


def test_what_a_swapped_device_delivered_before_it_was_suspected_is_its_own(child):
    pid = watched(child)
    suspected_ns = 2 * S
    child.source.findings.suspect(suspected_ns)
    child.source.findings.accuse(pid, "another source")
    child.source.findings.suspect(suspected_ns + HOLD_NS)  # by the server's next event
    child.source.findings.accuse(pid, "another source")
    last_ns = suspected_ns - HOLD_NS
    later = block(9_600, arrived_ns=last_ns + 1), block(14_400, arrived_ns=suspected_ns)
    child.pass_on(block(4_800, arrived_ns=last_ns), *later)
    own, ended = child.source.deliver(suspected_ns)
    assert (own.first_frame, ended.reason) == (4_800, GapReason.SOURCE)


def test_of_a_suspected_device_only_what_came_since_waits_until_it_is_cleared_or_nobody_does(child):
    pid = watched(child)
    child.source.findings.suspect(2 * S)
    last_ns = 2 * S - HOLD_NS
    child.pass_on(block(4_800, arrived_ns=last_ns), block(9_600, arrived_ns=last_ns + 1))
    assert [one.first_frame for one in child.source.deliver(2 * S)] == [4_800]
    assert child.source.held_since_ns == last_ns + 1
    assert child.source.fileno() is None  # or one that floods could fill our memory meanwhile
    child.source.findings.vouch(pid)
    assert [one.first_frame for one in child.source.deliver(2 * S + 2)] == [9_600]
    assert child.source.held_since_ns is None
    assert child.source.fileno() is not None
    later_ns = 3 * S
    child.source.findings.suspect(later_ns)
    child.pass_on(block(14_400, arrived_ns=later_ns), block(19_200, arrived_ns=later_ns))
    assert child.source.deliver(later_ns + SUSPECT_NS - 1) == []
    told = child.source.deliver(later_ns + SUSPECT_NS)
    assert [one.first_frame for one in told] == [14_400, 19_200]


def test_nobody_waits_for_what_is_dropped_of_a_swapped_device(child):
    pid = watched(child)
    child.source.findings.suspect(2 * S)
    child.pass_on(block(4_800, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    assert child.source.held_since_ns == 2 * S
    child.source.findings.accuse(pid, "another source")
    assert len(child.source.deliver(2 * S)) == 1
    assert child.source.held_since_ns is None


def test_the_end_of_a_child_is_told_when_it_is_known_whose_its_last_block_was(child):
    pid = watched(child)
    child.source.findings.suspect(2 * S)
    child.write(block(4_800, arrived_ns=2 * S))
    child.end()
    assert child.source.deliver(2 * S) == []
    child.source.findings.vouch(pid)
    last, ended = until_told(child.source, 2 * S + 1)
    assert (last.first_frame, ended.reason) == (4_800, GapReason.ABSENT)


def test_nor_is_that_waited_for_as_long_as_of_a_child_that_runs(child):
    watched(child)
    child.source.findings.suspect(2 * S)
    child.write(block(4_800, arrived_ns=2 * S))
    child.end()
    assert child.source.deliver(2 * S) == []
    assert child.source.deliver(2 * S + ENDED_NS - 1) == []
    last, ended = child.source.deliver(2 * S + ENDED_NS)
    assert (last.first_frame, ended.reason) == (4_800, GapReason.ABSENT)


def test_what_a_suspected_child_sent_before_it_sent_rubbish_is_not_heard(child):
    watched(child)
    child.source.findings.suspect(2 * S)
    child.pass_on(block(4_800, arrived_ns=2 * S), b"rubbish" * 10)
    (ended,) = child.source.deliver(2 * S)
    assert ended.reason is GapReason.SOURCE


def test_a_stall_delivers_what_was_held_before_it_is_told(child):
    watched(child)
    child.pass_on(block(4_800, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    held, ended = look_twice(child.source, 2 * S + LIMITS.stall_ns + 1)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.STALL)


def test_even_where_its_stamp_lies_in_the_future(child):
    watched(child)
    child.pass_on(block(4_800, arrived_ns=100 * S))
    assert child.source.deliver(2 * S) == []
    held, ended = look_twice(child.source, 2 * S + LIMITS.stall_ns + 1)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.STALL)


def of_a_wrong_rate():
    """Return blocks from 1 s on, the last of which proves that their rate is another."""
    rate = TrueRate()
    rate.begin(HEADER)
    blocks = []
    while not blocks or not rate.judge(blocks[-1]):
        nth = len(blocks)
        blocks.append(block(4_800 * nth, arrived_ns=S + nth * 4_800 * S // 44_100))
    return blocks


@pytest.mark.parametrize("held_ns", [0, HOLD_NS + 1])
def test_a_last_block_that_was_held_when_its_child_ended_still_tells_a_wrong_rate(child, held_ns):
    _, *blocks, last = of_a_wrong_rate()
    watched(child)
    for one in blocks:
        child.pass_on(one)
        child.source.deliver(one.arrived_ns)
    child.pass_on(last)
    (before,) = child.source.deliver(last.arrived_ns)
    assert before.first_frame == blocks[-1].first_frame
    child.end()
    held, ended = until_told(child.source, last.arrived_ns + held_ns)
    assert (held.first_frame, ended.reason) == (last.first_frame, GapReason.SOURCE)


def test_a_device_that_appears_while_the_last_block_is_held_back_is_tried_at_once(child):
    watched(child)
    child.pass_on(block(4_800, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    child.source.findings.appeared()
    child.end()
    held, *_ = until_told(child.source, 2 * S + 1)
    assert held.first_frame == 4_800
    while child.source.fileno() is None:
        child.source.deliver(2 * S + 2)
    assert child.source.state.restarts == 1


def test_a_malformed_stream_delivers_what_was_held_before_it_is_told(child):
    watched(child)
    child.pass_on(block(4_800, arrived_ns=2 * S))
    assert child.source.deliver(2 * S) == []
    child.write(b"rubbish" * 10)
    held, ended = until_told(child.source, 2 * S)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.SOURCE)


def test_what_came_before_a_stream_is_its_own_is_dropped(child):
    child.start(0)
    begin_ns = 1 * S
    child.source.findings.begins(child.source.findings.opened.pid, begin_ns)
    before = block(0, arrived_ns=begin_ns + PAIR_NS - 1)
    child.write(HEADER, before, block(4_800, arrived_ns=begin_ns + PAIR_NS))
    _, first = child.read(begin_ns + PAIR_NS, 2)
    assert (first.first_frame, first.flags) == (4_800, BlockFlags.NEW_STREAM)


def test_a_servers_stream_is_not_heard_before_it_is_vouched_for(child):
    child.source.findings.followed = True
    child.start(0)
    pid = child.source.findings.opened.pid
    begin_ns = 1 * S + PAIR_NS + 1
    own = block(4_800, arrived_ns=begin_ns + PAIR_NS)
    child.pass_on(SERVED, block(0, arrived_ns=own.arrived_ns - 1), own)
    assert child.source.deliver(1 * S) == []
    child.source.findings.begins(pid, begin_ns)
    child.source.findings.vouch(pid)
    vouched = child.source.deliver(1 * S + BEGINNING_NS - 1)
    header, first = vouched + child.source.deliver(own.arrived_ns + HOLD_NS + 1)
    assert (header, first.first_frame) == (SERVED, 4_800)
    assert first.flags == BlockFlags.NEW_STREAM


def test_the_watch_hears_of_a_stream_whose_beginning_waits(child):
    child.source.findings.followed = True
    child.start(0)
    child.pass_on(SERVED, block(0))
    assert child.source.deliver(1 * S) == []
    opened = child.source.findings.opened
    assert (opened.device, opened.source) == ("pulse:mic", "mic")


def test_nor_is_it_waited_for_long(child):
    child.source.findings.followed = True
    child.start(0)
    child.pass_on(SERVED, block(0))
    came_ns = LIMITS.start_ns - 1
    assert child.source.deliver(came_ns) == []
    child.pass_on(block(4_800, arrived_ns=came_ns + BEGINNING_NS - 1))
    assert child.source.deliver(came_ns + BEGINNING_NS - 1) == []  # nor taken for one that hangs
    assert len(child.source.deliver(came_ns + BEGINNING_NS)) == 3


def test_nor_is_it_lost_when_its_child_ends_meanwhile(child):
    child.source.findings.followed = True
    child.start(0)
    child.write(SERVED, block(0))
    child.end()
    header, first, ended = until_told(child.source, 1 * S)
    assert (header, first.first_frame, ended.reason) == (SERVED, 0, GapReason.ABSENT)


def test_nor_told_by_the_next_child_when_it_was_malformed(child):
    child.source.findings.followed = True
    child.start(0)
    child.pass_on(SERVED, block(0))
    assert child.source.deliver(1 * S) == []
    child.write(b"rubbish" * 10)
    (ended,) = until_told(child.source, 1 * S)
    assert ended.reason is GapReason.SOURCE
    child.end()
    child.source.deliver(1 * S)
    assert child.start(2 * S) == []


def test_where_nobody_follows_the_server_it_is_heard_at_once(child):
    child.start(0)
    child.write(SERVED, block(0))
    assert len(child.read(1 * S, 2)) == 2
