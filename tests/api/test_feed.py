"""Audio that a program pushes into its recorder."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from edgerec import FeedError
from edgerec.api.feeding import Feeding
from edgerec.api.pushed_samples import int16_of
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
        (np.zeros(9, np.int32), RATE, 1, "samples of format 'i'"),
        (np.zeros((9, 2, 2), np.int16), RATE, 1, "in 3 dimensions"),
        (np.zeros((9, 2), np.int16), RATE, 1, "an array of 2 channels, pushed as 1"),
        (np.array([0.1, np.nan], np.float32), RATE, 1, "no numbers"),
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


INT16 = np.arange(-20_000, 20_000, 7, dtype="<i2")


@pytest.mark.parametrize(
    "pcm",
    [
        INT16,
        INT16.reshape(-1, 1),
        np.repeat(INT16, 2)[::2],
        (INT16 / 32767).astype(np.float32),
        (INT16 / 32767).astype(np.float64).reshape(-1, 1),
        INT16.tobytes(),
        bytearray(INT16.tobytes()),
        memoryview(INT16),
    ],
)
def test_the_same_samples_in_any_type_are_the_same_audio(pcm):
    data, channels = int16_of(pcm, None)
    assert (bytes(data), channels) == (INT16.tobytes(), 1)


def test_floats_beyond_full_scale_are_at_full_scale():
    data, _ = int16_of(np.array([-1.5, -1.0, 1.0, 1.5], np.float32), None)
    assert np.frombuffer(data, "<i2").tolist() == [-32768, -32767, 32767, 32767]


def test_an_array_of_two_dimensions_says_how_many_channels_it_has():
    stereo = np.stack([INT16, -INT16], axis=1)
    data, channels = int16_of(stereo, None)
    assert (bytes(data), channels) == (stereo.tobytes(), 2)
    assert bytes(int16_of(np.asfortranarray(stereo), 2)[0]) == stereo.tobytes()


@pytest.mark.parametrize("empty", [b"", np.zeros(0, np.int16), np.zeros((0, 2), np.float32)])
def test_empty_audio_is_nothing(program, empty):
    it = program(bot="feed")
    it.recorder.start_recording()
    it.recorder.feed("bot", empty, RATE)
    assert it.recorder.status()["tracks"]["bot"]["state"] == "idle"


def test_a_stream_of_bytes_may_be_cut_anywhere(program):
    it = program(bot="feed")
    it.hear("on_track_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    stereo = np.repeat(np.arange(1, 16_001, dtype="<i2")[:, None], 2, axis=1).tobytes()
    cuts = [0, 1, 2, 3, 5, 9, 1_000, 30_001, len(stereo)]
    for start, stop in pairwise(cuts):
        it.recorder.feed("bot", stereo[start:stop], RATE, channels=2)
    it.clock.let_pass(3)
    it.stop()
    (both,) = it.events("on_track_audio_data")
    heard = samples(both.bot_audio)
    first = int(np.argmax(heard > 0))
    assert np.abs(heard[first : first + 15_000] - np.arange(1, 15_001)).max() <= 2


def test_audio_that_comes_too_late_for_its_place_is_told_of(program):
    it = program(bot="feed")
    it.hear("on_late")
    it.recorder.start_recording()
    it.clock.let_pass(6)
    at_ns = it.clock.read().monotonic_ns - 3 * S
    it.recorder.feed("bot", level(0.5), RATE, at_ns=at_ns)
    it.clock.let_pass(3)
    late = it.recorder.status()["tracks"]["bot"]["late_frames"]
    it.stop()
    told = it.events("on_late")
    assert {one.track for one in told} == {"bot"}
    assert sum(one.frames for one in told) == told[-1].late_frames == late
    assert late == pytest.approx(0.5 * RATE, abs=RATE // 100)


def test_refused_audio_is_an_event_and_in_the_status_and_the_sidecars(program):
    it = program(bot="feed")
    it.hear("on_refused")
    it.hear("on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    with pytest.raises(FeedError):
        it.recorder.feed("bot", level(0.5), RATE, at_ns=it.clock.read().monotonic_ns + 100 * S)
    it.clock.let_pass(3)
    refused = it.recorder.status()["tracks"]["bot"]["refused_frames"]
    it.stop()
    assert [(one.track, one.frames) for one in it.events("on_refused")] == [("bot", RATE // 2)]
    chunks = [one.sidecar for one in it.events("on_audio_data")]
    assert sum(chunk["tracks"]["bot"]["refused_frames"] for chunk in chunks) == refused == RATE // 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 16_000.0},
        {"sample_rate": "16000"},
        {"channels": 1.0},
        {"at_ns": 1.5e9},
        {"live": True, "lost": 2.5},
        {"live": True, "lost": 1 << 62},
    ],
)
def test_a_number_that_can_not_be_meant_is_refused_before_anything_is_pushed(program, wrong):
    it = program(bot="feed")
    it.recorder.start_recording()
    with pytest.raises(FeedError, match=f"{list(wrong)[-1]} is "):
        it.recorder.feed("bot", level(0.1), **{"sample_rate": RATE, **wrong})
    assert it.recorder.played("bot").position == 0


class _Cleared:
    """A source that is cleared while the header of the first push waits for room."""

    track = "bot"

    def __init__(self):
        self.pushes = []

    def attach(self):
        pass

    def push(self, messages, is_given_up):
        self.pushes.append([next(messages)] if not self.pushes else list(messages))
        return 0, sum(getattr(message, "frames", 0) for message in self.pushes[-1])


def test_what_a_clear_kept_from_being_pushed_is_not_taken_for_sent():
    source = _Cleared()
    feeding = Feeding(source, "k1")
    for _ in range(2):
        feeding.push(level(0.1), RATE, None, None)
    header, block = source.pushes[1]
    assert (header.sample_rate, block.first_frame, block.frames) == (RATE, 0, RATE // 10)
