"""Audio that a program pushes into its recorder."""

import threading

import numpy as np
import pytest

from edgerec import FeedError
from tests.rigs.fakes import S
from tests.rigs.feed_rig import level, sounding
from tests.rigs.recording_program import RATE, samples
from tests.rigs.waiting import PATIENCE_S, wait_for


def test_audio_is_fed_and_recorded_as_it_plays(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    it.recorder.feed("bot", level(1.0, 24_000), sample_rate=24_000)
    array = np.frombuffer(level(0.5, 48_000, 2), "<i2").reshape(-1, 2)
    it.recorder.feed("bot", array, 48_000, channels=2)
    it.clock.let_pass(3)
    it.stop()
    (both,) = it.events("on_track_audio_data")
    heard = sounding(samples(both.bot_audio))
    assert sum(stop - start for start, stop in heard) == pytest.approx(1.5 * RATE, abs=4)
    assert both.gaps["bot"] == ()


def test_stamped_audio_is_recorded_where_it_was_sampled(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data", "on_recording_started")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    at_ns = it.clock.read().monotonic_ns
    for number in range(10):
        it.clock.let_pass(0.1)
        stamp = at_ns + number * S // 10
        it.recorder.feed("bot", level(0.1, RATE), sample_rate=RATE, at_ns=stamp)
    it.clock.let_pass(2)
    it.stop()
    (both,) = it.events("on_track_audio_data")
    (started,) = it.events("on_recording_started")
    expected = (at_ns - started.monotonic_ns) / S * RATE
    (heard,) = sounding(samples(both.bot_audio))
    assert heard[0] == pytest.approx(expected, abs=0.002 * RATE)
    assert heard[1] - heard[0] == pytest.approx(RATE, abs=4)


def test_audio_for_a_recorder_that_is_not_open_is_ignored(program):
    program(bot="feed").recorder.feed("bot", level(1.0), RATE)


@pytest.mark.parametrize(
    ("pcm", "rate", "channels", "says"),
    [
        (b"abc", RATE, 1, "3 bytes are not whole frames"),
        (b"abcdef", RATE, 2, "6 bytes are not whole frames"),
        (np.zeros(9, np.float32), RATE, 1, "samples of format 'f'"),
        (np.zeros((9, 2), np.int16)[:, 0], RATE, 1, "contiguous: False"),
        (b"abcd", 100, 1, "sample_rate is 100"),
        (b"abcd", RATE, 0, "channels is 0"),
    ],
)
def test_what_is_no_audio_is_refused_and_the_next_is_taken(program, pcm, rate, channels, says):
    it = program(bot="feed")
    it.hear("on_track_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    with pytest.raises(FeedError, match=says):
        it.recorder.feed("bot", pcm, rate, channels)
    it.recorder.feed("bot", level(0.5), RATE)
    it.clock.let_pass(2)
    it.stop()
    (both,) = it.events("on_track_audio_data")
    assert len(sounding(samples(both.bot_audio))) == 1


def test_what_can_not_be_recorded_is_refused_by_the_call_it_belongs_to(program):
    it = program(bot="feed")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    for hours in (-1, 1):
        at_ns = it.clock.read().monotonic_ns + hours * 3600 * S
        with pytest.raises(FeedError) as refused:
            it.recorder.feed("bot", level(0.1), RATE, at_ns=at_ns)
        assert refused.value.code == "bad_stamp"
    it.recorder.feed("bot", level(0.1), RATE)


def test_a_track_that_has_a_device_can_not_be_fed(program):
    it = program()
    it.recorder.start_recording()
    with pytest.raises(FeedError, match="not fed by applications"):
        it.recorder.feed("user", level(0.1), RATE)


def test_an_hour_pushed_at_once_waits_and_the_end_lets_it_go(program):
    it = program(bot="feed")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    told, hour = [], level(3600.0, 8_000)

    def push():
        try:
            it.recorder.feed("bot", hour, 8_000)
        except FeedError as error:
            told.append(error.code)

    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    wait_for(lambda: it.recorder.status()["tracks"]["bot"]["state"] == "running")
    it.clock.let_pass(2)
    assert pushing.is_alive()
    it.stop()
    pushing.join(PATIENCE_S)
    assert told == ["stopped"]


def test_live_audio_needs_no_time_and_says_what_it_lost(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    for number in range(40):
        it.clock.let_pass(0.1)
        lost = RATE // 10 if number == 20 else 0
        if lost:
            it.clock.let_pass(0.1)
        it.recorder.feed("bot", level(0.1, RATE), RATE, live=True, lost=lost)
    it.clock.let_pass(3)
    it.stop()
    (both,) = it.events("on_track_audio_data")
    lost, stalled = ((gap.frames, gap.reason) for gap in both.gaps["bot"])
    assert (lost, stalled[1]) == ((RATE // 10, "xrun"), "stall")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"live": True, "at_ns": 1}, "live audio with a time"),
        ({"lost": 5}, "lost is 5"),
        ({"live": True, "lost": -1}, "lost is -1"),
    ],
)
def test_what_live_audio_cannot_be_is_refused(program, arguments, says):
    it = program(bot="feed")
    it.recorder.start_recording()
    with pytest.raises(FeedError, match=says):
        it.recorder.feed("bot", level(0.1), RATE, **arguments)
    it.stop()
