"""Replayed inputs: every frame of them is in the chunks, where it was, or a gap of that length."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from edgerec.audio import TRACKS, Block, GapReason, StreamHeader
from edgerec.engine.replay import replay
from edgerec.engine.replay_input import Inputs
from edgerec.simulation.conversation import silence
from edgerec.simulation.device import Absence, DeviceModel, Faults, Loss, Stall
from edgerec.simulation.kiosk import VirtualKiosk
from tests.rigs.alignment import find, noise
from tests.rigs.fakes import S, config, write_traces
from tests.rigs.made_recordings import audio, chunks, sidecar
from tests.rigs.replay_rig import RATE, end, gaps, replayed, write_wav


@pytest.fixture(scope="module")
def lossy_traces(tmp_path_factory):
    """Two drifting, jittery devices that lose frames, stall, and go away for a while."""
    faults = Faults(loss_per_hour=300, stall_per_hour=120, stall_s=1.0)
    kiosk = VirtualKiosk(
        DeviceModel(
            drift_ppm=87, jitter_ms=0.8, faults=faults, events=(Absence(20.0, 3.0), Loss(31.0, 999))
        ),
        DeviceModel(
            sample_rate=44_100,
            channels=2,
            drift_ppm=-43,
            jitter_ms=0.8,
            starts_s=0.4,
            faults=faults,
            events=(Absence(35.0, 2.0, sample_rate=48_000), Stall(12.0, 3.0)),
        ),
        seed=3,
    )
    return write_traces(tmp_path_factory.mktemp("traces"), kiosk, 45.0)


@pytest.mark.parametrize("chunk_seconds", [1.0, 7.3])
def test_chunks_put_together_are_the_recording_of_one_unlimited_chunk(
    tmp_path, lossy_traces, chunk_seconds
):
    whole = chunks(replayed(tmp_path / "whole", lossy_traces))
    cut = chunks(replayed(tmp_path / "cut", lossy_traces, chunk_seconds=chunk_seconds))
    assert len(whole) == 1
    assert {one.frames for one in cut[:-1]} == {round(chunk_seconds * RATE)}
    assert b"".join(audio(one.path) for one in cut) == audio(whole[0].path)


def test_chunks_of_wav_input_are_the_recording_of_one_unlimited_chunk(tmp_path):
    inputs = {
        "user": write_wav(tmp_path / "user.wav", noise(9 * 48_000 + 1, 48_000, 1)),
        "bot": write_wav(tmp_path / "bot.wav", noise(8 * 44_100, 44_100, 2), 44_100),
    }
    recordings = [
        b"".join(audio(one.path) for one in chunks(replayed(tmp_path / name, inputs, **how)))
        for name, how in (
            ("whole", {}),
            ("1", {"chunk_seconds": 1.0}),
            ("7.3", {"chunk_seconds": 7.3}),
        )
    ]
    assert recordings[0] == recordings[1] == recordings[2]


def test_flac_chunks_decode_to_the_wav_recording_and_opus_has_as_many_frames(tmp_path):
    inputs = {"user": write_wav(tmp_path / "user.wav", noise(3 * 48_000, 48_000, 1))}
    wav, flac, opus = (
        chunks(replayed(tmp_path / form, inputs, format=form, chunk_seconds=1.0))
        for form in ("wav", "flac", "opus")
    )
    assert [one.path.suffix for one in (*flac, *opus)] == [".flac"] * 3 + [".opus"] * 3
    decoded = [soundfile.read(one.path, dtype="int16")[0] for one in flac]
    assert [samples.tobytes() for samples in decoded] == [audio(one.path) for one in wav]
    frames = [soundfile.info(one.path).frames for one in opus]
    assert frames == [one.frames for one in wav] == [RATE] * 3


def test_streams_are_merged_by_arrival_and_a_stamp_that_goes_back_moves_nothing():
    def stream(track, *arrived):
        yield StreamHeader(48_000, 1, track, "device", "monotonic_raw")
        for nth, arrived_ns in enumerate(arrived):
            yield Block(nth * 480, 480, arrived_ns, 0, 0, bytes(960))

    merged = Inputs({"user": stream("user", 10, 30, 20, 60), "bot": stream("bot", 25, 40)})
    order = [(at_ns, track) for at_ns, track, delivery in merged if isinstance(delivery, Block)]
    assert order == [
        (10, "user"),
        (25, "bot"),
        (30, "user"),
        (30, "user"),
        (40, "bot"),
        (60, "user"),
    ]


def test_recorded_and_missing_frames_are_all_the_time_there_was(tmp_path, lossy_traces):
    published = replayed(tmp_path, lossy_traces, chunk_seconds=7.3)
    *files, closing = published
    assert sum(one.frames for one in files) == closing.frames
    # The trace ends with the last block that begins within 45 s.
    assert closing.frames / RATE == pytest.approx(45.0, abs=0.11)


def test_what_a_device_lost_is_a_gap_of_that_length_where_it_was(tmp_path):
    lost, away_s = 4_321, 3.0
    kiosk = VirtualKiosk(
        DeviceModel(events=(Loss(10.0, lost), Absence(20.0, away_s))), DeviceModel(), seed=1
    )
    published = replayed(tmp_path / "root", write_traces(tmp_path, kiosk, 30.0))
    loss, *absence = gaps(published, "user")
    assert loss["reason"] == GapReason.XRUN.label
    assert loss["frames"] == pytest.approx(lost * RATE / 48_000, abs=1)
    # From the first frame of the block that the loss fell in.
    assert loss["start_frame"] / RATE == pytest.approx(10.0, abs=2 / RATE)
    # A trace has no word for an absence: it is a stall until the new stream tells of it. The
    # block that was being filled went with it.
    assert [gap["reason"] for gap in absence] == ["stall", "absent"]
    assert absence[0]["start_frame"] / RATE == pytest.approx(20.0, abs=0.1 + 2 / RATE)
    assert absence[1]["start_frame"] == end(absence[0])
    assert end(absence[1]) / RATE == pytest.approx(20.0 + away_s, abs=2 / RATE)
    assert gaps(published, "bot") == []


def test_user_is_left_and_bot_is_right_at_the_instants_they_were_played(tmp_path):
    heard = {"user": noise(4 * RATE, RATE, 1), "bot": noise(4 * RATE, RATE, 2)}
    inputs = {
        "user": write_wav(tmp_path / "u.wav", heard["user"], RATE),
        "bot": write_wav(tmp_path / "b.wav", np.concatenate((np.zeros(800), heard["bot"])), RATE),
    }
    (chunk,) = chunks(replayed(tmp_path / "root", inputs))
    samples = np.frombuffer(audio(chunk.path), "<i2").reshape(-1, 2).T
    assert find(heard["user"][: 3 * RATE], samples[0]) == 0
    assert find(heard["bot"][: 3 * RATE], samples[1]) == 800


def test_input_shorter_than_a_clock_needs_to_settle_is_recorded_whole(tmp_path):
    inputs = {"user": write_wav(tmp_path / "u.wav", noise(4_800, 48_000, 1))}
    (chunk,) = chunks(replayed(tmp_path / "root", inputs))
    assert chunk.frames == pytest.approx(RATE // 10, abs=1)
    (off,) = gaps([chunk], "bot")
    assert (off["reason"], off["frames"]) == ("off", chunk.frames)


def test_no_frame_is_lost_at_the_end_of_a_rate_whose_frames_are_no_whole_nanoseconds(tmp_path):
    inputs = {"user": write_wav(tmp_path / "u.wav", noise(44_101, 44_100, 1), 44_100)}
    (chunk,) = chunks(replayed(tmp_path / "root", inputs, sample_rate=None))
    assert chunk.frames == 44_101


def test_the_session_begins_with_the_earlier_input_and_the_later_one_with_a_gap(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(starts_s=5.0), seed=1)
    published = replayed(tmp_path / "root", write_traces(tmp_path, kiosk, 8.0))
    assert gaps(published, "user") == []
    (absent,) = gaps(published, "bot")
    assert (absent["reason"], absent["start_frame"]) == ("absent", 0)
    assert absent["frames"] / RATE == pytest.approx(5.0, abs=2 / RATE)


def test_an_input_that_ends_before_the_session_has_begun_is_recorded_and_then_at_its_end(tmp_path):
    inputs = {
        "user": write_wav(tmp_path / "u.wav", noise(4_800, 48_000, 1)),
        "bot": write_wav(tmp_path / "b.wav", noise(4 * 48_000, 48_000, 2)),
    }
    published = replayed(tmp_path / "root", inputs)
    (gap,) = gaps(published, "user")
    assert gap["reason"] == "source"
    assert gap["start_frame"] == pytest.approx(RATE // 10, abs=1)


def test_all_is_recorded_of_a_device_that_is_later_than_a_quiet_track_is_waited_for(tmp_path):
    settings = config(tmp_path / "root", late_seconds=0.8)
    late = replace(settings.tracks, bot=replace(settings.tracks.bot, offset_ms=1_500))
    samples = noise(6 * 48_000, 48_000, 1)
    inputs = {track: write_wav(tmp_path / f"{track}.wav", samples) for track in TRACKS}
    published = []
    replay(replace(settings, tracks=late), inputs, on_published=published.append)
    assert gaps(published, "bot") == [
        {"start_frame": 6 * RATE, "frames": 1.5 * RATE, "reason": "source"}
    ]


def test_a_hole_longer_than_the_ring_holds_is_a_gap_of_that_length(tmp_path):
    away_s = 120.0
    model = DeviceModel(events=(Absence(5.0, away_s),))
    traces = write_traces(tmp_path, VirtualKiosk(model, model, seed=1, world=silence), 128.0)
    published = replayed(tmp_path / "root", traces)
    for track in ("user", "bot"):
        missing = sum(gap["frames"] for gap in gaps(published, track))
        assert missing / RATE == pytest.approx(away_s, abs=0.1 + 4 / RATE)
    assert chunks(published)[0].frames / RATE == pytest.approx(128.0, abs=0.11)


def test_a_replayed_session_has_the_time_of_its_trace(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1, start_ns=77 * S)
    (chunk,) = chunks(replayed(tmp_path / "root", write_traces(tmp_path, kiosk, 3.0)))
    latency_ns, frame_ns = 5_000_000, S // 48_000
    assert sidecar(chunk)["monotonic_ns"] == pytest.approx(77 * S + latency_ns, abs=frame_ns)
    assert sidecar(chunk)["utc_trusted"] is False
