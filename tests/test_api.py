"""The recorder inside a program: what AudioBufferProcessor's users know, and what is edgerec's own.

Devices are virtual and deliver in simulated time; threads and files are real.
"""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import edgerec
from edgerec import AudioGoneError, FeedError, HandlerError, Recorder, RecorderError
from edgerec.audio import TRACKS
from edgerec.capture.faults import Absence
from edgerec.service import parts
from edgerec.store.verify import verify
from tests.feeding import level, sounding
from tests.kiosk import S, config, device
from tests.recordings import audio
from tests.test_recorder import EagerSource, PacedClock, wait_for

RATE = 16_000


def hum(track):
    """A world in which no recorded sample is zero."""
    return lambda first_s, step_s, frames: np.full(frames, 0.25, np.float32)


class Program:
    """A program that records, and is told of everything in `told`."""

    def __init__(self, root, monkeypatch, *, bot="simulated", events=(), seconds=20.0, **recording):
        self.clock = PacedClock()
        self.config = config(root, bot=bot, **recording)
        self.recorder = Recorder(self.config, handler_seconds=seconds, clock=self.clock)
        self.told = []
        monkeypatch.setattr(parts, "build_children", self._devices)
        self._events = events

    def _devices(self, config, now_ns):
        return {
            track: EagerSource(
                device(
                    track,
                    world=hum,
                    start_ns=now_ns,
                    events=self._events if track == "bot" else (),
                )
            )
            for track in parts.track_configs(config)
            if parts.track_configs(config)[track].source != "feed"
        }

    def hear(self, *names):
        for name in names:

            def note(recorder, event, name=name):
                assert recorder is self.recorder
                self.told.append((name, event))

            self.recorder.event_handler(name)(note)

    def stop(self):
        """Stop recording; time goes on meanwhile."""
        self.clock.until_ns += 30 * S
        self.recorder.stop_recording()
        self.clock.until_ns = self.clock.raw_ns

    def events(self, name):
        return [event for told, event in self.told if told == name]


@pytest.fixture
def program(tmp_path, monkeypatch):
    programs = []

    def make(**how):
        programs.append(Program(tmp_path / "root", monkeypatch, **how))
        return programs[-1]

    yield make
    for one in programs:
        one.clock.until_ns += 60 * S
        one.recorder.close()


def samples(data):
    return np.frombuffer(data, "<i2")


# As with AudioBufferProcessor


def test_a_chunk_is_told_of_with_its_audio_and_all_that_is_known_of_it(program):
    it = program(chunk_seconds=1.0)
    it.hear("on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(4)
    it.stop()
    chunks = it.events("on_audio_data")
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.start_frame for chunk in chunks] == [n * RATE for n in range(len(chunks))]
    for chunk in chunks:
        described = json.loads(chunk.sidecar_path.read_text())
        assert chunk.audio == audio(chunk.path)
        assert chunk.sidecar == described
        assert (chunk.sample_rate, chunk.num_channels) == (RATE, 2)
        assert chunk.channels == ("user", "bot")
        assert chunk.gaps == {"user": (), "bot": ()}
        assert set(chunk.drift_ppm) == set(TRACKS)
        assert b"".join(chunk.blocks(999)) == chunk.audio
        assert len(chunk.audio) == chunk.frames * 4
        with pytest.raises(ValueError, match="not a turn"):
            _ = chunk.turn
    assert [chunk.end_reason for chunk in chunks] == ["full"] * (len(chunks) - 1) + ["stop"]


def test_both_tracks_are_of_equal_length_whenever_it_ends(program):
    it = program(chunk_seconds=1.0, events=(Absence(2.0, 60.0),))
    it.hear("on_track_audio_data", "on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(4.3)
    it.stop()
    tracks = it.events("on_track_audio_data")
    assert len(tracks) == len(it.events("on_audio_data")) >= 4
    for both, chunk in zip(tracks, it.events("on_audio_data"), strict=True):
        assert len(both.user_audio) == len(both.bot_audio) == 2 * both.frames == 2 * chunk.frames
        merged = samples(chunk.audio).reshape(-1, 2)
        assert np.array_equal(samples(both.user_audio), merged[:, 0])
        assert np.array_equal(samples(both.bot_audio), merged[:, 1])
        assert (both.start_frame, both.sequence) == (chunk.start_frame, chunk.sequence)
        assert (both.sample_rate, both.num_channels) == (RATE, 1)
        assert both.gaps == chunk.gaps and both.drift_ppm == chunk.drift_ppm
    assert not samples(tracks[-1].bot_audio).any()  # gone, and silent, beside a user who is not
    assert samples(tracks[-1].user_audio).all()


def test_separate_tracks_are_told_of_beside_a_mixed_chunk(program):
    it = program(chunk_seconds=1.0, num_channels=1, separate_tracks=True)
    it.hear("on_track_audio_data", "on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    it.stop()
    for both, chunk in zip(
        it.events("on_track_audio_data"), it.events("on_audio_data"), strict=True
    ):
        assert chunk.channels == ("mix",)
        assert both.sequence == chunk.sequence
        total = samples(both.user_audio).astype(int) + samples(both.bot_audio)
        assert np.array_equal(total.clip(-32_768, 32_767), samples(chunk.audio))
        assert set(both.gaps) == {"user", "bot"}


def test_audio_before_the_start_is_ignored(program):
    it = program(auto_start=False)
    it.hear("on_audio_data")
    with it.recorder:
        it.clock.let_pass(5)
        it.recorder.start_recording()
        started_ns = it.clock.raw_ns
        it.clock.let_pass(2)
        it.stop()
    (chunk,) = it.events("on_audio_data")
    assert chunk.frames <= (it.clock.raw_ns - started_ns) / S * RATE
    assert chunk.sidecar["monotonic_ns"] >= started_ns + 7 * S - S // 5  # a block was under way


def test_starting_again_keeps_what_is_recorded(program):
    it = program()
    it.hear("on_audio_data", "on_recording_started")
    assert it.recorder.start_recording() is True
    it.clock.let_pass(3)
    assert it.recorder.start_recording() is False
    it.clock.let_pass(3)
    it.stop()
    (chunk,) = it.events("on_audio_data")
    assert chunk.frames > 5 * RATE
    assert len(it.events("on_recording_started")) == 1


def test_stopping_flushes_everything_and_then_says_stopped(program, tmp_path):
    it = program(chunk_seconds=2.0)
    it.hear("on_recording_started", "on_audio_data", "on_published", "on_recording_stopped")
    it.recorder.start_recording()
    it.clock.let_pass(5)
    it.stop()
    assert verify(tmp_path / "root").ok
    names = [name for name, _ in it.told]
    assert names[0] == "on_recording_started"
    assert names[-1] == "on_recording_stopped"
    (stopped,) = it.events("on_recording_stopped")
    chunks = it.events("on_audio_data")
    assert stopped.frames == sum(chunk.frames for chunk in chunks)
    assert stopped.end_reason == "stop"
    assert {chunk.session for chunk in chunks} == {stopped.session}
    published = it.events("on_published")
    assert [one.kind for one in published] == ["chunk"] * len(chunks) + ["session"]
    assert [one.path for one in published[:-1]] == [chunk.path for chunk in chunks]


@pytest.mark.parametrize("auto_start", [True, False])
def test_with_auto_start_it_records_as_soon_as_it_is_open(program, auto_start):
    it = program(auto_start=auto_start)
    it.hear("on_recording_started")
    with it.recorder:
        it.clock.let_pass(3)
        it.clock.until_ns += 30 * S
    assert len(it.events("on_recording_started")) == auto_start


def test_stopping_what_was_never_started_does_nothing(program):
    it = program()
    it.recorder.stop_recording()
    assert it.recorder.status() == {}
    assert it.recorder.wait(0.0)


# Handlers


def test_async_handlers_are_awaited(program):
    it = program(chunk_seconds=1.0)
    told = []

    @it.recorder.event_handler("on_audio_data")
    async def handle(recorder, event):
        await asyncio.sleep(0)
        told.append(event.sequence)

    it.recorder.start_recording()
    it.clock.let_pass(3)
    it.stop()
    assert told == list(range(len(told))) and len(told) >= 3


def test_a_handler_that_raises_costs_no_file_and_no_other_handler(program, tmp_path, caplog):
    it = program(chunk_seconds=1.0)

    @it.recorder.event_handler("on_audio_data")
    def broken(recorder, event):
        raise RuntimeError("a bug of the program's")

    it.hear("on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    it.stop()
    chunks = len(it.events("on_audio_data"))
    assert chunks >= 3
    assert it.recorder.counts.handlers.raised == chunks
    assert it.recorder.counts.handlers.done == chunks
    assert "a bug of the program's" in caplog.text
    assert verify(tmp_path / "root").ok


def test_an_event_s_audio_is_there_after_a_sync_job_has_taken_the_file(program):
    it = program(chunk_seconds=1.0)
    kept = []

    @it.recorder.event_handler("on_published")
    def fetch(recorder, event):
        if event.kind == "chunk":
            kept.append((audio(event.path), event.sidecar.read_bytes()))
            event.path.unlink()
            event.sidecar.unlink()

    it.hear("on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    it.stop()
    chunks = it.events("on_audio_data")
    assert len(kept) == len(chunks) >= 3
    for chunk, (expected, described) in zip(chunks, kept, strict=True):
        assert not chunk.path.exists()
        assert chunk.audio == expected
        assert chunk.sidecar == json.loads(described)


def test_stopping_from_a_handler_ends_the_recording_and_the_rest_is_told(program):
    it = program(chunk_seconds=1.0)

    @it.recorder.event_handler("on_audio_data")
    def stop_at_two(recorder, event):
        if event.sequence == 1:
            it.clock.until_ns += 30 * S
            recorder.stop_recording()

    it.hear("on_recording_stopped", "on_audio_data")
    it.recorder.start_recording()
    it.clock.until_ns += 5 * S
    assert it.recorder.wait(20.0)
    wait_for(lambda: it.events("on_recording_stopped"))
    chunks = it.events("on_audio_data")
    assert it.told[-1][0] == "on_recording_stopped"
    assert chunks[-1].end_reason == "stop"


@pytest.mark.parametrize(
    ("name", "recording", "hint"),
    [
        ("on_audio_dat", {}, "did you mean on_audio_data?"),
        ("audio", {}, "there are: on_audio_data, "),
        ("on_user_turn_audio_data", {}, "enable_turn_audio: true"),
        ("on_track_audio_data", {"num_channels": 1}, "separate_tracks: true"),
    ],
)
def test_a_handler_that_would_never_be_called_is_refused(program, name, recording, hint):
    with pytest.raises(HandlerError, match=hint):
        program(**recording).recorder.event_handler(name)


def test_gaps_and_states_are_told(program):
    it = program(events=(Absence(2.0, 1.0),))
    it.hear("on_gap", "on_state", "on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(6)
    it.recorder.pause()
    it.clock.let_pass(1)
    it.recorder.resume()
    it.clock.let_pass(1)
    it.stop()
    gaps = it.events("on_gap")
    in_files = [
        (track, gap.start_frame, gap.frames, gap.reason)
        for chunk in it.events("on_audio_data")
        for track, found in chunk.gaps.items()
        for gap in found
    ]
    assert sorted((gap.track, gap.start_frame, gap.frames, gap.reason) for gap in gaps) == sorted(
        in_files
    )
    assert {"absent", "pause"} <= {gap.reason for gap in gaps}
    states = [event.state for event in it.events("on_state") if event.of == "recorder"]
    assert "paused" in states and states[-1] in ("idle", "ending")


# Several recordings, and none


def test_in_one_with_block_recordings_follow_each_other(program):
    it = program(auto_start=False)
    it.hear("on_recording_started", "on_audio_data", "on_recording_stopped")
    with it.recorder:
        for _ in range(2):
            it.recorder.start_recording()
            it.clock.let_pass(2)
            it.stop()
            assert it.told[-1][0] == "on_recording_stopped"  # when stop_recording returns
        assert it.recorder.status()["recording"] is False
        it.clock.until_ns += 30 * S
    started = it.events("on_recording_started")
    assert [one.session_number for one in started] == [1, 2]
    assert len(it.events("on_audio_data")) == 2


def test_without_it_each_recording_opens_the_devices_anew_and_the_root_is_free_between(program):
    it = program()
    it.hear("on_recording_started")
    for _ in range(2):
        assert it.recorder.start_recording()
        it.clock.let_pass(2)
        it.stop()
        assert it.recorder.status() == {}
    assert len(it.events("on_recording_started")) == 2


def test_what_needs_a_recording_says_so_without_one(program):
    it = program(auto_start=False)
    with pytest.raises(RecorderError, match="start_recording first"):
        it.recorder.pause()
    with it.recorder:
        with pytest.raises(RecorderError, match="rotate: "):
            it.recorder.rotate()
        it.clock.until_ns += 30 * S


def test_rotating_ends_a_chunk_and_loses_nothing(program):
    it = program()
    it.hear("on_audio_data")
    it.recorder.start_recording()
    it.clock.let_pass(3)
    it.recorder.rotate()
    it.clock.let_pass(3)
    it.stop()
    first, second = it.events("on_audio_data")
    assert first.end_reason == "rotate"
    assert second.start_frame == first.frames


# Audio pushed


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
        (b"abc", RATE, 1, "3 bytes are no whole frames"),
        (b"abcdef", RATE, 2, "6 bytes are no whole frames"),
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


def test_what_the_recorder_refuses_is_told_by_a_later_call_and_the_next_is_taken(program):
    it = program(bot="feed")
    it.recorder.start_recording()
    it.clock.let_pass(2)
    future_ns = it.clock.read().monotonic_ns + 3600 * S
    it.recorder.feed("bot", level(0.1), RATE, at_ns=future_ns)

    def refused():
        try:
            it.recorder.feed("bot", level(0.1), RATE)
        except FeedError as error:
            return error.code == "bad_stamp"
        return False

    it.clock.until_ns += 600 * S
    wait_for(refused)
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
    pushing.join(20.0)
    assert told == ["stopped"]


# Failures


def test_a_root_that_can_not_be_used_is_told_at_once_and_leaves_no_thread(program, tmp_path):
    before = set(threading.enumerate())
    it = program()
    (tmp_path / "root").write_text("a file")
    with pytest.raises(edgerec.StoreError):
        it.recorder.start_recording()
    assert set(threading.enumerate()) <= before  # one of an earlier test may end meanwhile


def test_what_ends_the_recording_is_raised_by_stopping_it(program, monkeypatch):
    it = program()
    monkeypatch.setattr(parts, "open_recording", lambda *_, **__: 1 / 0)
    it.recorder.start_recording()
    it.clock.until_ns += 10 * S
    assert it.recorder.wait(20.0)
    with pytest.raises(ZeroDivisionError):
        it.stop()


def test_of_too_many_files_kept_the_oldest_say_that_they_are_gone(program):
    it = program()
    it.hear("on_audio_data")
    it.recorder._held._most = 1
    it.recorder.start_recording()
    for _ in range(2):
        it.clock.let_pass(1)
        it.recorder.rotate()
    it.stop()
    chunks = it.events("on_audio_data")
    for chunk in chunks:
        chunk.path.unlink()
    with pytest.raises(AudioGoneError):
        _ = chunks[0].audio
    assert chunks[-1].audio


# The package


def test_importing_edgerec_loads_nothing_until_it_is_used():
    code = (
        "import sys, edgerec; loaded = set(sys.modules); edgerec.load_config;"
        "print(bool({'numpy', 'asyncio', 'soundfile', 'edgerec.api'} & loaded),"
        " 'edgerec.config' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_every_public_name_is_there_and_described():
    for name in edgerec.__all__:
        assert getattr(edgerec, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = edgerec.no_such_name


def test_a_configuration_is_left_as_it_is(program):
    it = program(auto_start=False)
    before = replace(it.config)
    it.recorder.start_recording()
    it.clock.let_pass(1)
    it.stop()
    assert it.recorder.config == before
    assert isinstance(it.recorder.config, edgerec.Config)


# Turns


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
