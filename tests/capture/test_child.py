"""Watching one capture child: real processes say what a test wants, time is what a test says."""

import os
import select

import pytest

from edgerec.audio import Block, GapReason, StreamEnded
from edgerec.capture import process
from edgerec.capture.child import LULL_NS
from edgerec.wire.blocks import encode_block
from tests.rigs.fake_child import HEADER, LIMITS, Rig, await_exit, block, look_twice
from tests.rigs.fakes import S
from tests.rigs.waiting import PATIENCE_S


def test_what_the_child_writes_is_delivered_and_makes_the_state_running(child):
    child.start(0)
    assert child.source.state.name == "starting"
    child.write(HEADER, block(0), block(4_800))
    header, first, second = child.read(1 * S, 3)
    assert header == HEADER
    assert (first.first_frame, second.first_frame) == (0, 4_800)
    state = child.source.state
    assert (state.name, state.since_ns, state.detail, state.restarts) == (
        "running",
        1 * S,
        "mic",
        0,
    )


def test_nothing_there_is_delivered_at_once_as_nothing(child):
    child.start(0)
    assert child.source.deliver(1) == []


def test_a_child_that_ends_is_an_absent_device_and_its_last_error_line_says_why(child):
    child.say('noise\n{"error": "no mic", "hint": "plug it in"}\nALSA lib noise\n')
    child.start(0)
    child.write(HEADER, block())
    child.end()
    *_, ended = child.read(1 * S, 3)
    assert ended == StreamEnded(GapReason.ABSENT, "no mic (plug it in)")
    assert (child.source.state.name, child.source.state.detail) == ("absent", ended.detail)
    assert child.source.fileno() is None


def test_a_device_that_delivers_nothing_any_more_is_killed_as_a_stall(child):
    child.start(0)
    child.write(HEADER, block())
    child.read(0, 2)
    assert child.source.deliver(LIMITS.stall_ns) == []
    (ended,) = child.source.deliver(LIMITS.stall_ns + 1)
    assert ended == StreamEnded(GapReason.STALL, "no frame for 1.2 s")
    assert (child.source.state.name, child.source.fileno()) == ("stalled", None)
    await_exit(child.source)


def test_a_header_without_frames_is_no_proof_of_life(child):
    child.start(0)
    child.write(HEADER)
    child.read(LIMITS.start_ns)
    (ended,) = child.source.deliver(LIMITS.start_ns + 1)
    assert ended.reason is GapReason.ABSENT


def test_a_reader_that_was_late_itself_finds_frames_and_no_stall(child):
    child.start(0)
    child.write(HEADER, block())
    child.read(0, 2)
    child.write(block(4_800))
    assert [type(message) for message in child.read(10 * LIMITS.stall_ns)] == [Block]
    assert child.source.deliver(10 * LIMITS.stall_ns + 1) == []


def test_blocks_longer_than_the_stall_limit_are_waited_for(child):
    child.start(0)
    child.write(HEADER)
    frames = HEADER.sample_rate  # 1 s: delivered in pairs, the next may come after 2 s and more
    os.set_blocking(child.pipe, True)
    child.write(encode_block(block(0, frames))[: 1 << 15])
    rest = encode_block(block(0, frames))[1 << 15 :]
    deliveries = []
    while rest:
        deliveries += child.source.deliver(0)
        os.set_blocking(child.pipe, False)
        try:
            rest = rest[os.write(child.pipe, rest) :]
        except BlockingIOError:
            select.select([child.source.fileno()], [], [], PATIENCE_S)
    while len(deliveries) < 2:
        deliveries += child.read(0)
    assert look_twice(child.source, 4 * S) == []
    assert len(child.source.deliver(4 * S + 1)) == 1
    await_exit(child.source)


def test_a_device_that_hangs_while_it_is_opened_is_killed_as_absent(child):
    child.start(0)
    assert child.source.deliver(LIMITS.start_ns) == []
    (ended,) = child.source.deliver(LIMITS.start_ns + 1)
    assert ended == StreamEnded(GapReason.ABSENT, "not open after 10 s")
    await_exit(child.source)
    assert child.source.deliver(LIMITS.start_ns + 2) == []  # reaped
    assert child.start(LIMITS.start_ns + 1 + LIMITS.first_retry_ns) == []
    assert child.source.state.restarts == 1


def test_a_malformed_stream_ends_there_and_what_came_before_it_is_delivered(child):
    child.start(0)
    child.write(HEADER, block(), b"rubbish")
    header, first, ended = child.read(0, 3)
    assert (header, first.frames) == (HEADER, 4_800)
    assert ended.reason is GapReason.SOURCE
    assert "not the beginning of a block" in ended.detail
    await_exit(child.source)


@pytest.fixture
def patient(tmp_path):
    with Rig(tmp_path, patient=True) as child:
        yield child


def test_a_child_that_is_patient_can_wait_only_while_it_runs(patient):
    patient.start(0)
    assert not patient.source.unhurried
    patient.write(HEADER, block())
    patient.read(0, 2)
    assert patient.source.unhurried
    assert patient.source.deliver(LULL_NS - 1) == []
    assert patient.source.unhurried
    assert patient.source.deliver(LULL_NS) == []
    assert not patient.source.unhurried  # it may have died: found out in time, or heard again
    patient.write(block(4_800, arrived_ns=S - LULL_NS))
    patient.read(S)
    assert not patient.source.unhurried
    patient.write(block(9_600, arrived_ns=S - LULL_NS + 1))
    patient.read(S)
    assert patient.source.unhurried
    look_twice(patient.source, S + LIMITS.stall_ns + 1)
    assert not patient.source.unhurried


def test_nor_while_it_is_looked_into_whose_audio_it_sends(patient):
    patient.start(0)
    patient.write(HEADER, block())
    patient.read(0, 2)
    patient.source.findings.suspect(1)
    assert patient.source.deliver(1) == []
    assert not patient.source.unhurried  # or what waits, waits for the next look
    patient.source.findings.pass_over()
    patient.source.deliver(2)
    assert patient.source.unhurried


def test_a_child_whose_pipe_is_small_cannot_wait(patient, monkeypatch):
    monkeypatch.setattr(process, "make_room", lambda pipe: False)  # as over the user's limit
    patient.start(0)
    patient.write(HEADER, block())
    patient.read(0, 2)
    assert not patient.source.unhurried


def test_a_reader_that_rested_looks_again_before_it_tells_a_stall(child):
    child.start(0)
    child.write(HEADER, block())
    child.read(0, 2)
    late_ns = LIMITS.stall_ns + 1
    assert child.source.deliver(late_ns) == []
    assert not child.source.unhurried
    child.pass_on(block(4_800, arrived_ns=late_ns))
    assert [type(message) for message in child.source.deliver(late_ns)] == [Block]


def test_a_stamp_from_the_future_is_no_reason_to_wait_until_then(child):
    child.start(0)
    child.write(HEADER, block(arrived_ns=100 * S))
    child.read(0, 2)
    (ended,) = look_twice(child.source, LIMITS.stall_ns + 1)
    assert ended.reason is GapReason.STALL
