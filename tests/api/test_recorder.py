"""The recorder inside a program: what AudioBufferProcessor's users know, and what is edgerec's own.

Devices are virtual and deliver in simulated time; threads and files are real.
"""

import inspect
import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import edgerec
from edgerec import RecorderError
from edgerec.audio import TRACKS
from edgerec.engine.build import RootFiles
from edgerec.simulation.device import Absence
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import S
from tests.rigs.made_recordings import audio
from tests.rigs.recording_program import RATE, samples
from tests.rigs.waiting import PATIENCE_S

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


def test_a_root_that_can_not_be_used_is_told_at_once_and_leaves_no_thread(program, tmp_path):
    before = set(threading.enumerate())
    it = program()
    (tmp_path / "root").write_text("a file")
    with pytest.raises(edgerec.StoreError):
        it.recorder.start_recording()
    assert set(threading.enumerate()) <= before  # one of an earlier test may end meanwhile


def test_what_ends_the_recording_is_raised_by_stopping_it(program, monkeypatch):
    it = program()
    monkeypatch.setattr(RootFiles, "open", lambda *_, **__: 1 / 0)
    it.recorder.start_recording()
    it.clock.until_ns += 10 * S
    assert it.recorder.wait(PATIENCE_S)
    with pytest.raises(ZeroDivisionError):
        it.stop()


# The package


def test_importing_edgerec_loads_nothing_until_it_is_used():
    code = (
        "import sys, edgerec; loaded = set(sys.modules); edgerec.load_config;"
        "print(bool({'numpy', 'asyncio', 'soundfile', 'edgerec.api'} & loaded),"
        " 'edgerec.config' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_the_public_names_are_those_that_the_api_imports():
    named = {name for name, value in vars(edgerec.api).items() if not inspect.ismodule(value)}
    assert set(edgerec.__all__) == {name for name in named if not name.startswith("_")}
    with pytest.raises(AttributeError, match="no attribute 'Recorde'"):
        _ = edgerec.Recorde


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
