"""Another configuration for a recorder that goes on: what changes, and what must not notice."""

import random
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from edgerec.audio import TRACKS
from edgerec.config import Config, HooksConfig
from edgerec.engine import session_turns
from edgerec.service.hooks import Hooks
from edgerec.simulation.conversation import tone
from edgerec.store.archive.verify import verify
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import device
from tests.rigs.made_recordings import chunks, sidecar
from tests.rigs.recorder_rig import EagerSource, begun, reload, wait_for_end
from tests.rigs.turn_rig import LoudActivity
from tests.rigs.waiting import wait_for

RATE = 16_000
WORLD = tone(440)


@pytest.fixture
def opened():
    """Which sources were opened, by track, in order."""
    return {track: [] for track in TRACKS}


@pytest.fixture
def open_device(opened):
    def open_device(track, now_ns):
        opened[track].append(EagerSource(device(track, world=WORLD, start_ns=now_ns)))
        return opened[track][-1]

    return open_device


def other_device(rig, track):
    """A change of the device of one track."""
    tracks = rig.recorder.config.tracks
    one = getattr(tracks, track)
    return replace(tracks, **{track: replace(one, device=f"{one.device or 'mic'}.")})


def written(rig):
    """Wait until the writer is not far behind: nothing here is about a slow disk."""
    wait_for(lambda: rig.recorder.status().storage.writer_lag_seconds < 10)


def user_track(published):
    """The user track, from whichever file has it, and its gaps."""
    pieces, gaps = [], []
    position = None
    for one in published:
        told = sidecar(one)
        if one.what not in ("chunk", "user"):
            continue
        if one.what == "chunk":
            assert position in (None, one.start_frame)
            position = one.start_frame + one.frames
            gaps += told["tracks"]["user"]["gaps"]
        names = told["format"]["channels"]
        if names[0] == "user" and (not pieces or pieces[-1][0] != one.start_frame):
            pcm, _ = soundfile.read(one.path, dtype="int16", always_2d=True)
            pieces.append((one.start_frame, pcm[:, 0]))
    return np.concatenate([pcm for _, pcm in pieces]), gaps


def test_another_cutting_ends_the_chunk_with_reload_and_goes_on_at_the_next_frame(running):
    rig = running()
    begun(rig)
    reload(rig, chunk_seconds=1.0)
    wait_for(lambda: chunks(rig.published))
    rig.let_pass(5.0)
    first, second, *_ = rig.finish()
    assert first.end_reason == "reload"
    assert (second.start_frame, second.frames, second.end_reason) == (first.frames, RATE, "full")
    assert verify(rig.root).ok


def test_another_form_applies_from_the_next_chunk_on(running):
    rig = running()
    begun(rig)
    reload(rig, num_channels=1, format="flac")
    wait_for(lambda: chunks(rig.published))
    rig.let_pass(2.0)
    first, second = rig.finish()
    assert (first.path.suffix, second.path.suffix) == (".wav", ".flac")
    assert sidecar(second)["format"]["channels"] == ["mix"]
    assert verify(rig.root).ok


def test_what_does_not_change_the_files_ends_no_chunk(running):
    rig = running()
    begun(rig)
    reload(rig, retention=replace(Config().retention, max_age_days=3.0), late_seconds=1.0)
    rig.let_pass(3.0)
    (only,) = rig.finish()
    assert only.end_reason == "stop"


def test_a_hook_that_is_configured_meanwhile_is_run_for_the_chunk_in_progress(running):
    rig = running()
    begun(rig)
    with Hooks(HooksConfig(), rig.clock, rig.recorder.events) as hooks:
        hooks.configure(HooksConfig(on_chunk=("/bin/true",)))
        rig.finish()
        wait_for(lambda: hooks.counts.succeeded == 1)


def test_a_recorder_that_has_ended_refuses_another_configuration_and_keeps_its_own(running):
    rig = running()
    begun(rig)
    before = rig.recorder.config
    rig.clock.until_ns = 10**18
    rig.recorder.stop()
    wait_for_end(rig.recorder)
    with pytest.raises(RefusedError):
        reload(rig, chunk_seconds=7.0)
    assert rig.recorder.config is before


def test_another_device_is_a_gap_in_its_own_track_only(running, opened):
    rig = running()
    begun(rig)
    before = opened["bot"][0]
    changes = reload(rig, tracks=other_device(rig, "bot"))
    assert changes.sources == ("bot",)
    rig.let_pass(5.0)
    assert before.closed
    assert (len(opened["user"]), len(opened["bot"])) == (1, 2)
    (only,) = rig.finish()
    told = sidecar(only)["tracks"]
    assert told["user"]["gaps"] == []
    assert sum(gap["frames"] for gap in told["bot"]["gaps"]) < RATE
    assert told["bot"]["device"] == "simulated:bot"


def test_a_track_may_be_switched_off_and_on_again(running):
    rig = running()
    begun(rig)
    tracks = rig.recorder.config.tracks
    reload(rig, tracks=replace(tracks, bot=replace(tracks.bot, source="none")))
    rig.let_pass(3.0)
    assert rig.recorder.status().tracks["bot"].state == "off"
    reload(rig, tracks=tracks)
    rig.let_pass(3.0)
    (only,) = rig.finish()
    told = sidecar(only)["tracks"]
    assert told["user"]["gaps"] == []
    off = [gap["frames"] for gap in told["bot"]["gaps"] if gap["reason"] == "off"]
    assert sum(off) == pytest.approx(3 * RATE, abs=RATE)


def test_another_offset_moves_its_track_and_reopens_nothing(running, opened):
    rig = running()
    begun(rig)
    tracks = rig.recorder.config.tracks
    reload(
        rig, tracks=replace(tracks, bot=replace(tracks.bot, offset_ms=50.0, offset_source="chirp"))
    )
    wait_for(lambda: chunks(rig.published))
    rig.let_pass(3.0)
    first, second = rig.finish()
    assert first.end_reason == "reload"
    told = sidecar(second)["tracks"]
    assert told["bot"]["latency_ms"] == {"value": 50.0, "source": "chirp"}
    assert told["user"]["gaps"] == []
    assert len(opened["bot"]) == 1
    late = sidecar(first)["tracks"]["bot"]["late_frames"] + told["bot"]["late_frames"]
    assert late == pytest.approx(0.05 * RATE, abs=2)


def test_another_offset_is_waited_for_however_long_it_is(running):
    rig = running()
    begun(rig)
    tracks = rig.recorder.config.tracks
    assert rig.recorder.config.recording.late_seconds < 1.5
    reload(rig, tracks=replace(tracks, bot=replace(tracks.bot, offset_ms=1_500.0)))
    wait_for(lambda: chunks(rig.published))
    rig.let_pass(5.0)
    told = sidecar(rig.finish()[-1])["tracks"]
    assert told["bot"]["gaps"] == told["user"]["gaps"] == []


def test_another_rate_begins_another_session_that_misses_nothing(running):
    rig = running()
    begun(rig)
    changes = reload(rig, sample_rate=8_000)
    assert changes.new_session
    rig.let_pass(4.0)
    rig.finish()
    first, second = [one for one in rig.published if one.kind == "session"]
    assert (first.end_reason, second.end_reason) == ("reload", "stop")
    told = [sidecar(one) for one in (first, second)]
    assert [one["sample_rate"] for one in told] == [16_000, 8_000]
    hole_s = (told[1]["monotonic_ns"] - told[0]["end"]["monotonic_ns"]) / 1e9
    assert 0 <= hole_s < 2 / 8_000
    for one in chunks(rig.published):
        assert all(track["gaps"] == [] for track in sidecar(one)["tracks"].values())
    assert verify(rig.root).ok


def test_files_of_each_track_belong_to_the_next_session_alone(running):
    rig = running()
    begun(rig)
    assert reload(rig, separate_tracks=True).new_session
    rig.let_pass(4.0)
    rig.finish()
    first, second = [one.session for one in rig.published if one.kind == "session"]
    files = {session: set() for session in (first, second)}
    for one in rig.published:
        files[one.session].add(one.what)
    assert files[second] - files[first] == {"user", "bot"}
    assert verify(rig.root).ok


def test_other_turns_begin_another_session_in_which_a_turn_goes_on(running, monkeypatch):
    monkeypatch.setattr(session_turns, "Detectors", lambda rate, user: LoudActivity())
    rig = running(enable_turn_audio=True)
    begun(rig)
    turns = rig.recorder.config.turns
    changes = reload(rig, turns=replace(turns, pre_roll_s=0.25))
    assert (changes.new_session, changes.sources) == (True, ())
    rig.let_pass(4.0)
    rig.finish()
    before, after = [one for one in rig.published if one.what == "turn-bot"]  # it hears a tone
    record, *_ = [one for one in rig.published if one.kind == "session"]
    assert (before.session, before.end_reason) == (record.session, "stop")
    assert before.start_frame + before.frames == record.frames
    assert after.session != record.session
    assert after.start_frame == 0
    assert all(
        track["gaps"] == []
        for one in chunks(rig.published)
        for track in sidecar(one)["tracks"].values()
    )


def test_a_paused_session_is_followed_by_one_that_is_paused_from_its_first_frame(running):
    rig = running()
    begun(rig)
    rig.recorder.pause()
    rig.let_pass(1.0)
    reload(rig, sample_rate=8_000)
    rig.let_pass(4.0)
    assert rig.recorder.status().activity == "paused"
    *_, last = rig.finish()
    (gap,) = sidecar(last)["tracks"]["user"]["gaps"]
    assert (gap["start_frame"], gap["frames"], gap["reason"]) == (0, last.frames, "pause")


def test_200_reloads_cost_the_track_that_does_not_change_not_a_sample(running, opened):
    choice = random.Random(6)
    rig = running(chunk_seconds=5.0, separate_tracks=True)
    begun(rig)
    passed_s = 3.0
    for _ in range(200):
        changed = {
            "chunk_seconds": choice.choice([1.0, 2.5, 5.0]),
            "num_channels": choice.choice([1, 2]),
            "format": choice.choice(["wav", "flac"]),
            "late_seconds": choice.choice([0.5, 0.8, 1.5]),
        }
        if choice.random() < 0.3:
            changed["tracks"] = other_device(rig, "bot")
        reload(rig, **changed)
        rig.let_pass(0.3)
        passed_s += 0.3
        written(rig)
    rig.finish()
    sound, gaps = user_track(rig.published)
    assert gaps == []
    assert len(opened["user"]) == 1
    assert len(opened["bot"]) > 30
    assert verify(rig.root).ok

    alone = running("alone")
    for _ in range(round(passed_s / 3.0)):
        alone.let_pass(3.0)
        written(alone)
    alone.finish()
    undisturbed, _ = user_track(alone.published)
    frames = min(len(sound), len(undisturbed))
    assert frames > 60 * RATE
    assert np.array_equal(sound[:frames], undisturbed[:frames])
