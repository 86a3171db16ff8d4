"""What a session's stop leaves of pushed audio: nothing for the next session."""

import threading

import pytest

from edgerec import FeedError
from tests.rigs.fakes import S
from tests.rigs.feed_rig import level, sounding
from tests.rigs.recording_program import RATE, samples
from tests.rigs.waiting import PATIENCE_S, wait_for

STOP_S = 4  # for the stop, which is less than what is queued then


def sessions_of(it):
    """Let two sessions be recorded; return what was heard of the bot in each."""
    it.clock.let_pass(1)
    it.clock.until_ns += STOP_S * S
    it.recorder.stop_recording()
    it.recorder.start_recording()
    it.clock.let_pass(5)
    it.stop()
    return [sounding(samples(both.bot_audio)) for both in it.events("on_track_audio_data")]


@pytest.fixture
def recording(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data")
    with it.recorder:
        it.clock.let_pass(2)
        yield it
        it.clock.until_ns += 10 * S


def test_what_is_queued_ends_with_the_session(recording):
    recording.recorder.feed("bot", level(25.0), RATE)
    first, second = sessions_of(recording)
    ((start, stop),) = first
    assert 0.7 * RATE < stop - start <= (1 + STOP_S) * RATE
    assert second == []


def test_what_has_a_stamp_in_the_future_ends_with_the_session(recording):
    at_ns = recording.clock.read().monotonic_ns
    recording.recorder.feed("bot", level(25.0), RATE, at_ns=at_ns)
    first, second = sessions_of(recording)
    ((start, stop),) = first
    assert 0.7 * RATE < stop - start <= (1 + STOP_S) * RATE
    assert second == []


def test_what_still_waits_for_room_is_refused_and_not_in_the_next_session(recording):
    told = []

    def push():
        try:
            recording.recorder.feed("bot", level(120.0), RATE)
        except FeedError as error:
            told.append(error.code)

    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    wait_for(lambda: recording.recorder.status()["tracks"]["bot"]["state"] == "running")
    _, second = sessions_of(recording)
    pushing.join(PATIENCE_S)
    assert told == ["stopped"]
    assert second == []


def test_what_is_pushed_after_a_stop_is_not_lost(recording):
    recording.recorder.feed("bot", level(25.0), RATE)
    recording.clock.until_ns += STOP_S * S
    recording.recorder.stop_recording()
    recording.recorder.start_recording()
    recording.clock.let_pass(1)
    recording.recorder.feed("bot", level(0.5), RATE)
    recording.clock.let_pass(2)
    recording.stop()
    _, both = recording.events("on_track_audio_data")
    ((start, stop),) = sounding(samples(both.bot_audio))
    assert stop - start == pytest.approx(0.5 * RATE, abs=2)
