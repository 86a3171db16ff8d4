"""Turns that a program marks, and is told of with their audio."""

import numpy as np
import pytest

from edgerec import RecorderError
from edgerec.audio import TRACKS
from tests.rigs.fakes import S
from tests.rigs.recording_program import RATE, samples


def turns(program, *marks, seconds=8.0):
    """Record, mark turns at so many seconds, and return what was told of them."""
    it = program(enable_turn_audio=True, bot="feed")
    it.hear("on_user_turn_audio_data", "on_bot_turn_audio_data", "on_audio_data")
    it.hear("on_recording_stopped")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    begin_ns = it.clock.read().monotonic_ns
    for at_s, track, state in marks:
        wanted_ns = begin_ns + round(at_s * S)
        it.clock.let_pass(max(0.0, (wanted_ns - it.clock.read().monotonic_ns) / S))
        it.recorder.mark(track, state, wanted_ns)
    it.clock.let_pass(max(0.0, seconds - (it.clock.read().monotonic_ns - begin_ns) / S))
    it.stop()
    return it


def test_successive_turns_of_each_speaker_are_numbered_and_hold_their_own_track(program):
    it = turns(
        program,
        (1.0, "user", "start"),
        (2.0, "user", "stop"),
        (3.0, "bot", "start"),
        (4.0, "bot", "stop"),
        (5.0, "user", "start"),
        (6.0, "user", "stop"),
    )
    user = it.events("on_user_turn_audio_data")
    bot = it.events("on_bot_turn_audio_data")
    assert [(one.turn.speaker, one.turn.by) for one in user] == [("user", "mark")] * 2
    assert [one.turn.speaker for one in bot] == ["bot"]
    numbers = [one.turn.number for one in user]
    assert numbers == sorted(numbers) and len(set(numbers)) == 2
    (chunk,) = it.events("on_audio_data")
    whole = samples(chunk.audio).reshape(-1, 2)
    for one in (*user, *bot):
        channel = TRACKS.index(one.turn.speaker)
        expected = whole[one.start_frame : one.start_frame + one.frames, channel]
        assert np.array_equal(samples(one.audio), expected)
        assert one.turn.speech_end_frame - one.turn.speech_start_frame == pytest.approx(
            RATE, abs=0.02 * RATE
        )


def test_a_speaker_who_says_nothing_is_not_reported(program):
    it = turns(program, (1.0, "user", "start"), (2.0, "user", "stop"))
    assert len(it.events("on_user_turn_audio_data")) == 1
    assert it.events("on_bot_turn_audio_data") == []


def test_a_turn_that_is_open_at_the_end_is_reported_before_the_end_is(program):
    it = turns(program, (1.0, "user", "start"), seconds=3.0)
    (turn,) = it.events("on_user_turn_audio_data")
    assert turn.end_reason == "stop"
    assert it.told[-1][0] == "on_recording_stopped"


def test_a_bot_turn_that_is_cut_short_is_its_own_turn_and_said_to_be_interrupted(program):
    it = turns(
        program,
        (1.0, "bot", "start"),
        (3.0, "user", "start"),
        (3.3, "bot", "stop"),
        (5.0, "user", "stop"),
    )
    (bot,) = it.events("on_bot_turn_audio_data")
    (user,) = it.events("on_user_turn_audio_data")
    assert (bot.turn.interrupted, user.turn.interrupted) == (True, False)
    assert bot.turn.speech_end_frame - bot.turn.speech_start_frame == pytest.approx(
        2.3 * RATE, abs=0.02 * RATE
    )


def test_marks_without_turns_say_what_to_set(program):
    it = program()
    it.recorder.start_recording()
    it.clock.let_pass(2)
    with pytest.raises(RecorderError, match="enable_turn_audio"):
        it.recorder.mark("user", "start")
    with pytest.raises(RecorderError, match="use start or stop"):
        it.recorder.mark("user", "begin")
