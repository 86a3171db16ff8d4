"""What a child sends that may be of another device: held back, dropped, or delivered after all."""

from dataclasses import replace

import pytest

from edgerec.audio import Block, BlockFlags, GapReason, StreamEnded
from edgerec.capture.findings import SUSPECT_NS, Findings
from edgerec.capture.own_audio import HOLD_NS, OwnAudio, sent_before
from edgerec.capture.wire import WireError
from tests.children import HEADER, LIMITS, Rig, block, look_twice, until_told
from tests.kiosk import S

PID = 7
PAIR_NS = 2 * 4_800 * S // HEADER.sample_rate
SERVED = replace(HEADER, device="pulse:mic")


@pytest.fixture
def findings():
    return Findings()


@pytest.fixture
def own(findings):
    return OwnAudio(findings, PID)


def sifted(own, now_ns, *messages):
    """What passes: the first frames of blocks, and devices."""
    return names(own.sift(messages, now_ns))


def names(messages):
    return [one.first_frame if isinstance(one, Block) else one.device for one in messages]


def malformed_behind(message):
    yield message
    raise WireError(0, "no block begins here")


def test_what_nobody_watches_passes_as_it_comes(own):
    assert sifted(own, 0, HEADER, block(0), block(4_800)) == ["mic", 0, 4_800]


def test_a_block_that_is_held_back_comes_before_whatever_follows_it(own, findings):
    findings.vouch(PID)
    assert sifted(own, S, HEADER, block(0, arrived_ns=S)) == ["mic"]
    assert sifted(own, S, block(4_800, arrived_ns=S)) == [0]
    assert sifted(own, S, HEADER, block(0, arrived_ns=S)) == [4_800, "mic"]
    assert names(own.newest()) == [0]
    assert names(own.newest()) == []


def test_a_block_is_held_back_only_while_it_is_fresh(own, findings):
    findings.vouch(PID)
    assert sifted(own, HOLD_NS + 1, HEADER, block(0)) == ["mic", 0]
    assert sifted(own, HOLD_NS, block(4_800)) == []
    assert sifted(own, HOLD_NS) == []
    assert sifted(own, HOLD_NS + 1) == [4_800]


def test_only_a_sound_server_s_stream_may_be_moved(own, findings):
    findings.followed = True
    assert sifted(own, 0, HEADER, block(0)) == ["mic", 0]
    assert sifted(own, 0, SERVED, block(0)) == []


def test_the_beginning_of_a_stream_that_was_vouched_for_early_passes_at_once(own, findings):
    findings.followed = True
    findings.vouch(PID)
    assert next(own.sift(malformed_behind(SERVED), S)) == SERVED


def test_what_follows_a_beginning_that_passed_does_not_wait_again(own, findings):
    findings.followed = True
    assert sifted(own, 0, SERVED, block(0)) == []
    assert sifted(own, SUSPECT_NS - 1, block(4_800)) == []
    assert sifted(own, SUSPECT_NS, block(9_600)) == ["pulse:mic", 0, 4_800, 9_600]
    assert next(own.sift(malformed_behind(block(14_400)), SUSPECT_NS)) == block(14_400)


def test_a_beginning_that_is_vouched_for_ends_with_a_block_that_is_held_back(own, findings):
    findings.followed = True
    assert sifted(own, S, SERVED, block(0, arrived_ns=S), block(4_800, arrived_ns=S)) == []
    findings.vouch(PID)
    assert sifted(own, S) == ["pulse:mic", 0]
    assert names(own.rest()) == [4_800]


def test_what_waits_of_a_child_that_ended_is_its_own_but_for_what_came_too_early(own, findings):
    findings.followed = True
    findings.begins(PID, S)
    early, first = block(0, arrived_ns=S + PAIR_NS - 1), block(4_800, arrived_ns=S + PAIR_NS)
    first = replace(first, flags=BlockFlags.OVERFLOW)
    assert sifted(own, S, SERVED, early, first) == []
    marked = replace(first, flags=BlockFlags.OVERFLOW | BlockFlags.NEW_STREAM)
    assert list(own.rest()) == [SERVED, marked]
    assert names(own.rest()) == []


def test_how_long_a_block_is_depends_on_the_stream_that_it_is_of(own, findings):
    findings.begins(PID, S)
    faster = replace(HEADER, sample_rate=2 * HEADER.sample_rate)
    of_both = block(arrived_ns=S + PAIR_NS // 2)
    assert sifted(own, S, HEADER, of_both, faster, of_both) == ["mic", "mic", 0]


def test_of_a_swapped_device_all_is_its_own_up_to_the_first_block_that_may_not_be():
    last, later = block(0, arrived_ns=S - HOLD_NS), block(4_800, arrived_ns=S - HOLD_NS + 1)
    assert sent_before(S, [HEADER, last, HEADER, later, HEADER, last]) == [HEADER, last, HEADER]


# Through a child


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def test_the_first_block_behind_each_header_begins_a_stream_whether_or_not_the_child_says_so(rig):
    rig.start(0)
    rig.write(HEADER, block(0), block(4_800), HEADER, block(0))
    flags = [message.flags for message in rig.read(0, 5) if isinstance(message, Block)]
    assert flags == [BlockFlags.NEW_STREAM, 0, BlockFlags.NEW_STREAM]


def watched(rig):
    """Have a child run that somebody vouches for; return its process id."""
    rig.start(0)
    rig.write(HEADER, block(0, arrived_ns=1 * S))
    rig.read(1 * S, 2)
    pid = rig.source.findings.opened.pid
    assert rig.source.findings.opened.device == "mic"
    rig.source.findings.vouch(pid)
    return pid


def test_the_newest_block_of_a_watched_device_waits_for_the_next_but_not_long(rig):
    watched(rig)
    rig.pass_on(block(4_800), block(9_600, arrived_ns=2 * S))
    assert [one.first_frame for one in rig.source.deliver(2 * S)] == [4_800]
    assert rig.source.deliver(2 * S + HOLD_NS) == []
    (held,) = rig.source.deliver(2 * S + HOLD_NS + 1)
    assert held.first_frame == 9_600


def test_a_block_that_has_waited_in_the_pipe_long_enough_is_not_kept(rig):
    watched(rig)
    rig.write(block(4_800, arrived_ns=2 * S))
    (newest,) = rig.read(2 * S + HOLD_NS + 1)
    assert newest.first_frame == 4_800


def test_a_device_that_was_swapped_is_killed_and_what_it_delivered_since_is_dropped(rig):
    pid = watched(rig)
    rig.pass_on(block(4_800, arrived_ns=2 * S))
    assert rig.source.deliver(2 * S) == []
    rig.source.findings.suspect(2 * S)
    rig.write(block(9_600))
    assert rig.source.deliver(2 * S) == []
    rig.source.findings.accuse(pid, "another source")
    (ended,) = rig.source.deliver(2 * S)
    assert ended == StreamEnded(GapReason.SOURCE, "another source")
    assert rig.source.state.name == "absent"
    rig.end()
    assert rig.source.deliver(2 * S) == []
    assert rig.source.findings.opened is None
    rig.start(3 * S)  # an accusation is of one child only
    rig.write(HEADER, block(0))
    assert len(rig.read(3 * S, 2)) == 2


def test_what_a_swapped_device_delivered_before_it_was_suspected_is_its_own(rig):
    pid = watched(rig)
    suspected_ns = 2 * S
    rig.source.findings.suspect(suspected_ns)
    rig.source.findings.accuse(pid, "another source")
    rig.source.findings.suspect(suspected_ns + HOLD_NS)  # by the server's next event
    rig.source.findings.accuse(pid, "another source")
    last_ns = suspected_ns - HOLD_NS
    later = block(9_600, arrived_ns=last_ns + 1), block(14_400, arrived_ns=suspected_ns)
    rig.pass_on(block(4_800, arrived_ns=last_ns), *later)
    own, ended = rig.source.deliver(suspected_ns)
    assert (own.first_frame, ended.reason) == (4_800, GapReason.SOURCE)


def test_a_suspected_device_is_not_read_until_it_is_cleared_or_nobody_does(rig):
    pid = watched(rig)
    rig.source.findings.suspect(2 * S)
    rig.pass_on(block(4_800), block(9_600, arrived_ns=2 * S))
    assert rig.source.deliver(2 * S) == []
    assert rig.source.fileno() is None  # or a full pipe would have the loop spin
    rig.source.findings.vouch(pid)
    assert [one.first_frame for one in rig.source.deliver(2 * S)] == [4_800]
    later_ns = 2 * S + LIMITS.stall_ns - SUSPECT_NS
    rig.source.findings.suspect(later_ns)
    assert rig.source.deliver(later_ns) == []
    assert rig.source.deliver(later_ns + SUSPECT_NS)[-1].first_frame == 9_600


def test_a_stall_delivers_what_was_held_before_it_is_told(rig):
    watched(rig)
    rig.pass_on(block(4_800, arrived_ns=2 * S))
    assert rig.source.deliver(2 * S) == []
    held, ended = look_twice(rig.source, 2 * S + LIMITS.stall_ns + 1)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.STALL)


def test_a_malformed_stream_delivers_what_was_held_before_it_is_told(rig):
    watched(rig)
    rig.pass_on(block(4_800, arrived_ns=2 * S))
    assert rig.source.deliver(2 * S) == []
    rig.write(b"rubbish" * 10)
    held, ended = until_told(rig.source, 2 * S)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.SOURCE)


def test_what_came_before_a_stream_is_its_own_is_dropped(rig):
    rig.start(0)
    begin_ns = 1 * S
    rig.source.findings.begins(rig.source.findings.opened.pid, begin_ns)
    before = block(0, arrived_ns=begin_ns + PAIR_NS - 1)
    rig.write(HEADER, before, block(4_800, arrived_ns=begin_ns + PAIR_NS))
    _, first = rig.read(begin_ns + PAIR_NS, 2)
    assert (first.first_frame, first.flags) == (4_800, BlockFlags.NEW_STREAM)


def test_a_servers_stream_is_not_heard_before_it_is_vouched_for(rig):
    rig.source.findings.followed = True
    rig.start(0)
    pid = rig.source.findings.opened.pid
    begin_ns = 1 * S + PAIR_NS + 1
    own = block(4_800, arrived_ns=begin_ns + PAIR_NS)
    rig.pass_on(SERVED, block(0, arrived_ns=own.arrived_ns - 1), own)
    assert rig.source.deliver(1 * S) == []
    rig.source.findings.begins(pid, begin_ns)
    rig.source.findings.vouch(pid)
    vouched = rig.source.deliver(1 * S + SUSPECT_NS - 1)
    header, first = vouched + rig.source.deliver(own.arrived_ns + HOLD_NS + 1)
    assert (header, first.first_frame) == (SERVED, 4_800)
    assert first.flags == BlockFlags.NEW_STREAM


def test_nor_is_it_waited_for_longer_than_a_suspicion_lasts(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.pass_on(SERVED, block(0))
    came_ns = LIMITS.start_ns - 1
    assert rig.source.deliver(came_ns) == []
    assert rig.source.deliver(came_ns + SUSPECT_NS - 1) == []  # nor taken for one that hangs
    assert len(rig.source.deliver(came_ns + SUSPECT_NS)) == 2


def test_nor_is_it_lost_when_its_child_ends_meanwhile(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.write(SERVED, block(0))
    rig.end()
    header, first, ended = until_told(rig.source, 1 * S)
    assert (header, first.first_frame, ended.reason) == (SERVED, 0, GapReason.ABSENT)


def test_nor_told_by_the_next_child_when_it_was_malformed(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.pass_on(SERVED, block(0))
    assert rig.source.deliver(1 * S) == []
    rig.write(b"rubbish" * 10)
    (ended,) = until_told(rig.source, 1 * S)
    assert ended.reason is GapReason.SOURCE
    rig.end()
    rig.source.deliver(1 * S)
    assert rig.start(2 * S) == []


def test_where_nobody_follows_the_server_it_is_heard_at_once(rig):
    rig.start(0)
    rig.write(SERVED, block(0))
    assert len(rig.read(1 * S, 2)) == 2
