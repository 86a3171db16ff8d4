"""Handlers of a program that records: each event is told once, whatever one of them does."""

import asyncio
import json

import pytest

from edgerec import AudioGoneError, HandlerError
from edgerec.simulation.device import Absence
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import S
from tests.rigs.made_recordings import audio
from tests.rigs.waiting import PATIENCE_S, wait_for


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
    assert it.recorder.wait(PATIENCE_S)
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
