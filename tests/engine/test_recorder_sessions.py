"""Several sessions of one recorder: what is asked of it, and what it tells meanwhile."""

import json
import threading

import pytest

from edgerec.audio import TRACKS
from edgerec.engine.engine import Engine
from edgerec.engine.writer_loop import WriterLoop
from edgerec.health import monitor
from edgerec.service.taps import Taps
from edgerec.session.events import (
    FilePublished,
    GapFound,
    Level,
    RecordingStarted,
    RecordingStopped,
    StateChanged,
)
from edgerec.simulation.device import Absence
from edgerec.store.archive.verify import verify
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import config, device
from tests.rigs.made_recordings import sidecar
from tests.rigs.recorder_rig import EagerSource, RunningClock, handed
from tests.rigs.waiting import PATIENCE_S, wait_for

RATE = 16_000


def test_sessions_are_recorded_one_after_the_other_each_closed_when_it_is_stopped(running):
    rig = running(auto_start=False)
    rig.let_pass(2.0)
    assert rig.recorder.status().recording is False
    for number in (1, 2, 3):
        assert rig.recorder.start_recording()
        assert not rig.recorder.start_recording()
        rig.let_pass(3.0)
        assert rig.recorder.status().recording is True
        rig.finish()
        assert not rig.recorder.stop_recording()
        assert [one.kind for one in rig.published] == ["chunk", "session"] * number
        assert list((rig.root / ".work").iterdir()) == []
    records = [json.loads(one.path.read_text()) for one in rig.published if one.kind == "session"]
    assert [record["session_number"] for record in records] == [1, 2, 3]
    assert {record["end_reason"] for record in records} == {"stop"}
    assert all(record["frames"] == pytest.approx(3 * RATE, abs=0.2 * RATE) for record in records)
    assert verify(rig.root).ok


def test_a_recorder_that_is_not_to_start_by_itself_records_nothing(running):
    rig = running(auto_start=False)
    rig.let_pass(20.0)
    assert rig.recorder.wait_until_stopped(PATIENCE_S)
    assert rig.recorder.status().activity == "idle"
    assert list((rig.root / "ready").iterdir()) == []


def test_a_pause_ends_its_chunk_and_is_a_gap_in_the_next(running):
    rig = running()
    rig.let_pass(3.0)
    for _ in range(2):
        assert rig.recorder.pause()
        assert not rig.recorder.pause()
        rig.let_pass(2.0)
        assert rig.recorder.status().activity == "paused"
        assert rig.recorder.resume()
        rig.let_pass(2.0)
    first, second, third = rig.finish()
    assert [one.end_reason for one in (first, second, third)] == ["pause", "pause", "stop"]
    for track in TRACKS:
        for one in (second, third):
            (gap,) = sidecar(one)["tracks"][track]["gaps"]
            assert (gap["start_frame"], gap["reason"]) == (one.start_frame, "pause")
            assert gap["frames"] == pytest.approx(2 * RATE, abs=0.2 * RATE)
    assert verify(rig.root).ok


def test_a_rotation_ends_the_chunk_and_the_next_follows_on_it(running):
    rig = running()
    rig.let_pass(3.0)
    rig.recorder.rotate()
    rig.let_pass(3.0)
    first, second = rig.finish()
    assert (first.end_reason, second.end_reason) == ("rotate", "stop")
    assert second.start_frame == first.frames
    assert verify(rig.root).ok


@pytest.mark.parametrize("ask", ["pause", "resume", "rotate"])
def test_there_is_nothing_to_pause_or_cut_without_a_session(running, ask):
    rig = running(auto_start=False)
    with pytest.raises(RefusedError) as refused:
        getattr(rig.recorder, ask)()
    assert refused.value.code == "not_recording"


def test_a_recorder_that_has_ended_begins_nothing(tmp_path, sources):
    with Engine(
        config(tmp_path / "root"), clock=RunningClock(), around=handed(sources)
    ) as recorder:
        pass
    with pytest.raises(RefusedError) as refused:
        recorder.start_recording()
    assert refused.value.code == "stopped"
    assert recorder.wait_until_stopped(0)


def test_what_happens_is_announced_in_order(running, sources):
    sources["bot"] = EagerSource(device("bot", events=(Absence(3.0, 2.0),)))
    rig = running(chunk_seconds=2.0)
    rig.let_pass(9.0)
    rig.finish()
    events = rig.events()
    started, *_, stopped = [e for e in events if not isinstance(e, StateChanged)]
    assert isinstance(started, RecordingStarted)
    assert isinstance(stopped, RecordingStopped)
    files = [event for event in events if isinstance(event, FilePublished)]
    assert files == rig.published
    assert {file.session for file in files} == {started.session} == {stopped.session}
    assert stopped.frames == files[-1].frames
    (gap,) = [event for event in events if isinstance(event, GapFound)]
    assert (gap.track, gap.reason, gap.session) == ("bot", "absent", started.session)
    assert gap.frames == pytest.approx(2 * RATE, abs=0.2 * RATE)
    states = [e.state for e in events if isinstance(e, StateChanged) and e.of == "recorder"]
    assert [state for state in states if state != "ending"] == ["waiting", "recording", "idle"]


def test_devices_are_read_at_once_and_levels_told_while_somebody_hears_them(running, monkeypatch):
    monkeypatch.setattr(monitor, "TICK_S", 10 * PATIENCE_S)
    rig = running()
    recorder, heard = rig.recorder, threading.Event()
    levels_wanted, taps = recorder._parts.monitor, Taps(rig.clock)
    assert not levels_wanted.is_live
    wait_for(lambda: levels_wanted._leisurely)
    levels = recorder.events.subscribe([Level], notify=heard.set)
    assert levels_wanted.is_live
    rig.let_pass(5.0)
    assert heard.wait(PATIENCE_S)
    recorder.events.unsubscribe(levels)
    assert not levels_wanted.is_live
    assert not taps.is_live
    reader = taps.open("user", lambda: None)
    assert taps.is_live
    reader.close()
    assert not taps.is_live


def test_a_session_that_finds_no_room_is_a_failure_for_nothing_of_it_is_recorded(
    running, monkeypatch
):
    rig = running(auto_start=False)
    rig.let_pass(2.0)
    with monkeypatch.context() as patch:
        patch.setattr(WriterLoop, "has_room", False)
        assert rig.recorder.start_recording()
        rig.let_pass(2.0)
        told = rig.recorder.status()
        assert told.state == "failed"
        assert "audio is being lost" in told.reasons[0].why
    rig.let_pass(2.0)
    assert rig.recorder.status().state == "ok"
