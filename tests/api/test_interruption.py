"""A program's speech that is interrupted: what was heard of it, and what is recorded."""

import threading

import pytest

from edgerec import RecorderError
from tests.rigs.fakes import S
from tests.rigs.feed_rig import level, noise, sounding
from tests.rigs.recording_program import RATE, samples
from tests.rigs.waiting import PATIENCE_S, wait_for


def test_what_was_heard_is_answered_told_of_and_recorded(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data", "on_played")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    first = it.recorder.feed("bot", level(0.5, 24_000), 24_000)
    second = it.recorder.feed("bot", level(5.0, 24_000), 24_000)
    assert (first.start, first.stop, second.stop) == (0, 12_000, 132_000)
    it.clock.let_pass(2)
    answer = it.recorder.clear("bot")
    assert answer.frames + answer.dropped == 132_000
    assert it.recorder.played(first).frames == 12_000
    assert it.recorder.played(second).frames == answer.frames - 12_000
    assert it.recorder.played("bot").dropped == answer.dropped
    it.clock.let_pass(3)
    assert it.recorder.status()["tracks"]["bot"]["fed"]["dropped"] == answer.dropped
    it.stop()
    (both,) = it.events("on_track_audio_data")
    ((start, stop),) = sounding(samples(both.bot_audio))
    assert stop - start == pytest.approx(answer.seconds * RATE, abs=1)
    (played,) = it.events("on_played")
    assert (played.frames, played.dropped) == (answer.frames, answer.dropped)
    assert played.last_ns == answer.last_ns


@pytest.mark.parametrize("marked", [False, True])
def test_the_turn_ends_where_it_was_cut_and_says_interrupted(program, marked):
    it = program(bot="feed", enable_turn_audio=True)
    it.hear("on_bot_turn_audio_data", "on_recording_started")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    if marked:
        it.recorder.mark("bot", "start")
    it.recorder.feed("bot", noise(8.0), RATE)
    it.clock.let_pass(3)
    answer = it.recorder.clear("bot")
    it.clock.let_pass(4)
    it.stop()
    (turn,) = it.events("on_bot_turn_audio_data")
    (started,) = it.events("on_recording_started")
    cut = (answer.last_ns - started.monotonic_ns) * RATE / S
    assert turn.turn.interrupted
    assert turn.start_frame + turn.frames == pytest.approx(cut, abs=2)
    assert turn.end_reason == "turn"
    assert turn.sidecar["turn"]["interrupted"] is True


def test_a_turn_that_is_played_out_is_not_interrupted(program):
    it = program(bot="feed", enable_turn_audio=True)
    it.hear("on_bot_turn_audio_data", "on_played")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    it.recorder.feed("bot", noise(2.0), RATE)
    it.clock.let_pass(5)
    it.recorder.clear("bot")
    it.stop()
    (turn,) = it.events("on_bot_turn_audio_data")
    assert not turn.turn.interrupted
    (played,) = it.events("on_played")
    assert (played.frames, played.dropped) == (2 * RATE, 0)


def test_a_call_that_waits_for_room_ends_and_says_how_much_it_has_pushed(program):
    it = program(bot="feed")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    pushed = []
    pushing = threading.Thread(
        target=lambda: pushed.append(it.recorder.feed("bot", level(120.0), RATE)), daemon=True
    )
    pushing.start()
    wait_for(lambda: it.recorder.played("bot").position >= 30 * RATE)
    it.recorder.clear("bot")
    pushing.join(PATIENCE_S)
    (one,) = pushed
    assert 30 * RATE <= one.stop - one.start < 33 * RATE
    told = it.recorder.played(one)
    assert told.frames + told.dropped == one.stop


def test_empty_audio_is_nothing_and_what_can_not_be_asked_is_refused(program):
    it = program(bot="feed")
    assert it.recorder.feed("bot", level(1.0), RATE).stop == 0
    with pytest.raises(RecorderError, match="nothing is recorded"):
        it.recorder.clear("bot")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    for empty in (b"", bytearray(), memoryview(b"")):
        assert it.recorder.feed("bot", empty, RATE).stop == 0
    with pytest.raises(RecorderError, match="the user track is not fed"):
        it.recorder.clear("user")
