"""Turns of replayed sessions, beside their chunks and instead of them."""

import numpy as np
import pytest
import soundfile

from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import write_traces
from tests.rigs.made_recordings import audio, chunks, sidecar
from tests.rigs.replay_rig import RATE, gaps, replayed

pytestmark = pytest.mark.xdist_group("talk")


@pytest.fixture(scope="module")
def talk_traces(tmp_path_factory):
    """Two devices that drift, in a room where the user and the bot talk."""
    kiosk = VirtualKiosk(
        DeviceModel(drift_ppm=60, jitter_ms=0.8),
        DeviceModel(channels=2, drift_ppm=-40, jitter_ms=0.8),
        seed=5,
    )
    return write_traces(tmp_path_factory.mktemp("talk"), kiosk, 60.0)


@pytest.fixture(scope="module")
def all_of_it(tmp_path_factory, talk_traces):
    """All that they hear, and its turns."""
    root = tmp_path_factory.mktemp("all") / "root"
    return replayed(root, talk_traces, chunk_seconds=7, enable_turn_audio=True)


def samples_of(published):
    """The chunks put together: frames, tracks."""
    return np.concatenate([soundfile.read(c.path, dtype="int16")[0] for c in chunks(published)])


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_turns_of_a_replayed_session_are_views_of_its_chunks(
    tmp_path, talk_traces, all_of_it, form
):
    published = all_of_it
    if form != "wav":
        root = tmp_path / "root"
        published = replayed(
            root, talk_traces, chunk_seconds=7, format=form, enable_turn_audio=True
        )
    whole = samples_of(published)
    turns = [one for one in published if one.kind == "turn"]
    assert {one.what for one in turns} == {"turn-user", "turn-bot"}
    assert len(turns) >= 6
    for one in turns:
        held, rate = soundfile.read(one.path, dtype="int16")
        track = ("turn-user", "turn-bot").index(one.what)
        assert rate == RATE
        assert np.array_equal(held, whole[one.start_frame : one.start_frame + one.frames, track])
        assert sidecar(one)["turn"]["by"] == "vad"
        assert list((root_of(one.path) / ".work").iterdir()) == []


def root_of(path):
    return next(folder.parent for folder in path.parents if folder.name == "ready")


def test_the_chunks_are_the_same_with_turns_and_without(tmp_path, talk_traces, all_of_it):
    without = replayed(tmp_path / "b", talk_traces, chunk_seconds=7)
    assert [audio(one.path) for one in chunks(all_of_it)] == [
        audio(one.path) for one in chunks(without)
    ]


@pytest.mark.parametrize("form", ["wav", "flac"])
@pytest.mark.parametrize("enable_turn_audio", [True, False])
def test_of_a_live_microphone_speech_alone_is_kept_to_the_sample(
    tmp_path, talk_traces, all_of_it, form, enable_turn_audio
):
    whole = samples_of(all_of_it).T
    published = replayed(
        tmp_path / "speech",
        talk_traces,
        chunk_seconds=7,
        user_continuous_stream=False,
        separate_tracks=True,
        format=form,
        enable_turn_audio=enable_turn_audio,
    )
    held = samples_of(published).T
    spoken = np.zeros(whole.shape[1], bool)
    for one in all_of_it:
        if one.what == "turn-user":
            spoken[one.start_frame : one.start_frame + one.frames] = True
    assert 0.1 < spoken.mean() < 0.9
    assert np.array_equal(held[0], whole[0] * spoken)
    assert np.array_equal(held[1], whole[1])
    assert gaps(published, "user") == gaps(all_of_it, "user")
    for index, track in enumerate(("user", "bot")):
        files = [
            soundfile.read(one.path, dtype="int16")[0] for one in published if one.what == track
        ]
        assert np.array_equal(np.concatenate(files), held[index])
    turns = [one for one in published if one.what == "turn-user"]
    assert bool(turns) == enable_turn_audio
    for one in turns:
        place = slice(one.start_frame, one.start_frame + one.frames)
        assert np.array_equal(soundfile.read(one.path, dtype="int16")[0], held[0, place])
    assert verify(tmp_path / "speech").ok
