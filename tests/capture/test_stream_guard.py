"""What a child sends that may be of another device: held back, dropped, or delivered after all."""

from dataclasses import replace

import pytest

from edgerec.audio import Block, BlockFlags
from edgerec.capture.devices.device_verdict import Findings
from edgerec.capture.stream_guard import BEGINNING_NS, HOLD_NS, OwnAudio, sent_before
from edgerec.wire.blocks import WireError
from tests.rigs.fake_child import HEADER, PAIR_NS, SERVED, block
from tests.rigs.fakes import S

PID = 7


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
    raise WireError(0, "not the beginning of a block")


def test_what_nobody_watches_passes_as_it_comes(own):
    assert sifted(own, 0, HEADER, block(0), block(4_800)) == ["mic", 0, 4_800]


def test_a_block_that_is_held_back_comes_before_whatever_follows_it(own, findings):
    findings.vouch(PID)
    assert sifted(own, S, HEADER, block(0, arrived_ns=S)) == ["mic"]
    assert sifted(own, S, block(4_800, arrived_ns=S)) == [0]
    assert sifted(own, S, HEADER, block(0, arrived_ns=S)) == [4_800, "mic"]
    assert names(own.held()) == [0]
    assert names(own.held()) == []


def test_a_block_is_held_back_only_while_it_is_fresh(own, findings):
    findings.vouch(PID)
    assert sifted(own, HOLD_NS + 1, HEADER, block(0)) == ["mic", 0]
    assert sifted(own, HOLD_NS, block(4_800)) == []
    assert sifted(own, HOLD_NS) == []
    assert sifted(own, HOLD_NS + 1) == [4_800]


def test_while_it_is_looked_into_only_what_came_before_passes(own, findings):
    findings.suspect(S)
    before, since = block(0, arrived_ns=S - HOLD_NS), block(4_800, arrived_ns=S - HOLD_NS + 1)
    assert sifted(own, S, HEADER, before, since, block(9_600, arrived_ns=S)) == ["mic", 0]
    assert own.held_since_ns == since.arrived_ns
    assert own.doubted
    assert names(own.held()) == []
    assert names(own.rest()) == []
    findings.pass_over()
    assert sifted(own, S) == [4_800, 9_600]
    assert own.held_since_ns is None
    assert not own.doubted


def test_a_suspicion_that_follows_on_another_holds_back_only_its_own(own, findings):
    findings.suspect(S)
    assert sifted(own, S, HEADER, block(0, arrived_ns=S)) == ["mic"]
    findings.suspect(S + HOLD_NS)
    later = block(4_800, arrived_ns=S + HOLD_NS)
    assert sifted(own, S + HOLD_NS, later) == [0]
    assert own.held_since_ns == later.arrived_ns


def test_a_beginning_that_waits_is_held_back_too(own, findings):
    findings.followed = True
    assert sifted(own, S, SERVED) == []
    assert own.held_since_ns is None
    assert sifted(own, S, block(0, arrived_ns=S), block(4_800, arrived_ns=S + 1)) == []
    assert own.held_since_ns == S


def test_only_a_sound_server_s_stream_may_be_moved(own, findings):
    findings.followed = True
    assert sifted(own, 0, HEADER, block(0)) == ["mic", 0]
    assert sifted(own, 0, SERVED, block(0)) == []


def test_the_beginning_of_a_stream_that_was_vouched_for_early_passes_at_once(own, findings):
    findings.followed = True
    findings.vouch(PID)
    assert next(own.sift(malformed_behind(SERVED), S)) == SERVED


def test_a_beginning_of_which_nobody_will_say_anything_passes_at_once(own, findings):
    findings.followed = True
    assert sifted(own, 0, SERVED, block(0)) == []
    findings.unknown(PID + 1)
    assert sifted(own, 0) == []
    findings.unknown(PID)
    assert sifted(own, 0) == ["pulse:mic", 0]


def test_what_follows_a_beginning_that_passed_does_not_wait_again(own, findings):
    findings.followed = True
    assert sifted(own, 0, SERVED, block(0)) == []
    assert sifted(own, BEGINNING_NS - 1, block(4_800)) == []
    assert sifted(own, BEGINNING_NS, block(9_600)) == ["pulse:mic", 0, 4_800, 9_600]
    assert next(own.sift(malformed_behind(block(14_400)), BEGINNING_NS)) == block(14_400)


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
