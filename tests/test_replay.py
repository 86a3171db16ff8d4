import dataclasses
import json
import signal
import wave

import numpy as np
import pytest
import soundfile

from edgerec.audio import Block, GapReason, StreamHeader
from edgerec.capture.conversation import silence
from edgerec.capture.faults import Absence, Faults, Loss, Stall
from edgerec.capture.simulate import VirtualKiosk
from edgerec.capture.trace import TraceError, TraceWriter, open_input
from edgerec.capture.virtual_device import DeviceModel
from edgerec.cli import main
from edgerec.cli.output import Progress
from edgerec.service.replay import MAX_HOLE_NS, ReplayError, in_order, replay
from edgerec.store.disk import StoreError
from edgerec.store.verify import verify
from tests.alignment import find, noise
from tests.kiosk import S, config, write_traces
from tests.recordings import audio, chunks, sidecar

RATE = 16_000


def replayed(root, inputs, **recording):
    published = []
    replay(config(root, **recording), inputs, on_published=published.append)
    assert verify(root).ok
    return published


def write_wav(path, samples, rate=48_000):
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return path


def gaps(published, track):
    """Of all chunks, with those that a chunk's end has cut in two put together."""
    found = [g for one in chunks(published) for g in sidecar(one)["tracks"][track]["gaps"]]
    whole = []
    for gap in found:
        last = whole[-1] if whole else None
        if last and last["reason"] == gap["reason"] and end(last) == gap["start_frame"]:
            last["frames"] += gap["frames"]
        else:
            whole.append(dict(gap))
    return whole


def end(gap):
    return gap["start_frame"] + gap["frames"]


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

    merged = in_order({"user": stream("user", 10, 30, 20, 60), "bot": stream("bot", 25, 40)})
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


def test_a_truncated_trace_publishes_what_came_before_and_says_where_it_ends(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1)
    traces = write_traces(tmp_path, kiosk, 10.0)
    half = traces["bot"].read_bytes()
    half = half[: len(half) // 2 + 7]
    traces["bot"].write_bytes(half)
    published = []
    with pytest.raises(ReplayError, match=r"bot\.trace, byte \d+: cut off") as caught:
        replay(config(tmp_path / "root"), traces, on_published=published.append)
    assert str(traces["bot"]) in str(caught.value)
    assert verify(tmp_path / "root").ok
    (missing,) = gaps(published, "bot")
    assert missing["reason"] == "source"
    assert missing["start_frame"] / RATE == pytest.approx(5.0, abs=0.2)
    assert gaps(published, "user") == []
    assert chunks(published)[0].frames / RATE == pytest.approx(10.0, abs=1 / RATE)


def test_a_malformed_trace_publishes_what_came_before_and_says_where_it_is_wrong(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1)
    traces = write_traces(tmp_path, kiosk, 6.0)
    content = bytearray(traces["user"].read_bytes())
    block_bytes = 40 + 4_800 * 2
    line = content.index(b"\n") + 1
    at = line + 30 * block_bytes
    content[at] ^= 0xFF  # the 31st block's magic
    traces["user"].write_bytes(content)
    published = []
    with pytest.raises(ReplayError, match=rf"user\.trace, byte {at}: .*no block begins here"):
        replay(config(tmp_path / "root"), traces, on_published=published.append)
    assert verify(tmp_path / "root").ok
    (missing,) = gaps(published, "user")
    assert (missing["reason"], missing["start_frame"]) == ("source", 3 * RATE)


def test_a_wav_file_that_was_cut_off_publishes_what_is_there(tmp_path):
    path = write_wav(tmp_path / "u.wav", noise(5 * 48_000, 48_000, 1))
    path.write_bytes(path.read_bytes()[: 44 + 3 * 48_000 * 2])
    published = []
    with pytest.raises(ReplayError, match="promises 240000 frames, it has 144000"):
        replay(config(tmp_path / "root"), {"user": path}, on_published=published.append)
    assert chunks(published)[0].frames == pytest.approx(3 * RATE, abs=1)


def test_a_stamp_from_another_day_ends_the_replay_and_writes_no_day_of_silence(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1, world=silence)
    paths = write_traces(tmp_path, kiosk, 5.0)
    (header, *blocks) = open_input(paths["user"], "user")
    paths["user"] = tmp_path / "wild.trace"
    with TraceWriter(paths["user"]) as trace:
        trace.write(header)
        for block in blocks[:20]:
            trace.write(block)
        late_ns = blocks[20].arrived_ns + MAX_HOLE_NS + 10 * S
        trace.write(dataclasses.replace(blocks[20], arrived_ns=late_ns))
    published = []
    with pytest.raises(ReplayError, match=r"wild\.trace: nothing for 8640\d s"):
        replay(config(tmp_path / "root"), paths, on_published=published.append)
    (chunk,) = chunks(published)
    assert 4.5 * RATE < chunk.frames < 6 * RATE
    assert verify(tmp_path / "root").ok


@pytest.mark.parametrize(
    "arrived_ns", [lambda nth: 10**12 - nth * S // 10, lambda nth: 10**12], ids=["back", "still"]
)
def test_audio_that_its_stamps_give_no_place_is_no_success(tmp_path, arrived_ns):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1)
    path = tmp_path / "wild.trace"
    header, *blocks = open_input(write_traces(tmp_path, kiosk, 5.0)["user"], "user")
    with TraceWriter(path) as trace:
        trace.write(header)
        for nth, block in enumerate(blocks):
            trace.write(dataclasses.replace(block, arrived_ns=arrived_ns(nth), adc_ns=0))
    published = []
    with pytest.raises(ReplayError, match=r"wild\.trace: \d\.\d s of its audio have no place"):
        replay(config(tmp_path / "root"), {"user": path}, on_published=published.append)
    assert published[-1].kind == "session"


def test_a_replay_that_is_stopped_publishes_what_came_before(tmp_path):
    path = write_wav(tmp_path / "u.wav", noise(9 * 48_000, 48_000, 1))
    published, done = [], []
    with pytest.raises(ReplayError, match="stopped before the end"):
        replay(
            config(tmp_path / "root"),
            {"user": path},
            on_published=published.append,
            on_progress=done.append,
            stopped=lambda: bool(done) and done[-1] > 3,
        )
    assert 3 * RATE < chunks(published)[0].frames < 5 * RATE
    assert verify(tmp_path / "root").ok


def test_inputs_without_audio_leave_nothing_behind(tmp_path):
    path = write_wav(tmp_path / "u.wav", np.zeros(0))
    with pytest.raises(ReplayError, match="nothing to replay"):
        replayed(tmp_path / "root", {"user": path})
    assert list((tmp_path / "root" / "ready").iterdir()) == []
    assert list((tmp_path / "root" / ".work").iterdir()) == []


def test_an_input_that_can_not_be_read_at_all_is_told_as_such_and_not_as_empty(tmp_path):
    path = write_wav(tmp_path / "u.wav", noise(48_000, 48_000, 1))
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ReplayError, match=r"u\.wav, byte \d+: .*format is cut off"):
        replayed(tmp_path / "root", {"user": path})
    assert list((tmp_path / "root" / "ready").iterdir()) == []


def test_inputs_without_a_clock_in_common_are_refused_with_what_to_do(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1)
    traces = write_traces(tmp_path, kiosk, 3.0)
    inputs = {"user": traces["user"], "bot": write_wav(tmp_path / "b.wav", np.zeros(48_000))}
    with pytest.raises(ReplayError, match=r"no clock in common .*convert both to WAV"):
        replayed(tmp_path / "root", inputs)


def test_a_file_that_is_no_recording_is_named_before_anything_is_made(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a recording")
    with pytest.raises(TraceError, match=r"notes\.txt.*neither a trace nor a WAV"):
        replayed(tmp_path / "root", {"user": path})
    assert not (tmp_path / "root").exists()


def test_a_root_without_a_parent_is_named(tmp_path):
    path = write_wav(tmp_path / "u.wav", np.zeros(4_800))
    with pytest.raises(StoreError, match=r"making the folder .*/nowhere/root: No such file"):
        replayed(tmp_path / "nowhere" / "root", {"user": path})


# The command


@pytest.fixture(autouse=True)
def _restored(handlers_restored):
    return


def test_ctrl_c_ends_the_command_with_a_list_of_what_it_published(tmp_path, capsys, monkeypatch):
    path = write_wav(tmp_path / "u.wav", noise(5 * 48_000, 48_000, 1))

    def press(_, done):
        if done > 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "seconds", press)
    assert main(["replay", "--user", str(path), "--out", str(tmp_path / "root")]) == 130
    told = capsys.readouterr()
    assert told.out.startswith("2 files under")
    assert told.err.endswith("edgerec replay: stopped before the end of the input\n")


def test_the_command_lists_what_it_published(tmp_path, capsys):
    path = write_wav(tmp_path / "u.wav", noise(2 * 48_000, 48_000, 1))
    root = tmp_path / "root"
    assert main(["replay", "--user", str(path), "--out", str(root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["error"] is None
    assert [one["kind"] for one in printed["files"]] == ["chunk", "session"]
    assert all(one["sidecar"].startswith(str(root)) for one in printed["files"])


def test_the_command_reports_damage_after_what_it_could_read(tmp_path, capsys):
    path = write_wav(tmp_path / "u.wav", noise(2 * 48_000, 48_000, 1))
    path.write_bytes(path.read_bytes()[:-1000])
    assert main(["replay", "--user", str(path), "--out", str(tmp_path / "root")]) == 1
    told = capsys.readouterr()
    assert "2 files under" in told.out
    assert "u.wav" in told.err
    assert "cut off" in told.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give --user FILE, --bot FILE, or both"),
        (["--user", "/no/such.wav"], 1, "/no/such.wav"),
    ],
)
def test_the_command_says_what_it_lacks(tmp_path, capsys, arguments, status, message):
    assert main(["replay", "--out", str(tmp_path / "root"), *arguments]) == status
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def talk_traces(tmp_path_factory):
    """Two devices that drift, in a room where the user and the bot talk."""
    kiosk = VirtualKiosk(
        DeviceModel(drift_ppm=60, jitter_ms=0.8),
        DeviceModel(channels=2, drift_ppm=-40, jitter_ms=0.8),
        seed=5,
    )
    return write_traces(tmp_path_factory.mktemp("talk"), kiosk, 60.0)


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_turns_of_a_replayed_session_are_views_of_its_chunks(tmp_path, talk_traces, form):
    published = replayed(
        tmp_path / "root", talk_traces, chunk_seconds=7, format=form, enable_turn_audio=True
    )
    whole = np.concatenate([soundfile.read(c.path, dtype="int16")[0] for c in chunks(published)])
    turns = [one for one in published if one.kind == "turn"]
    assert {one.what for one in turns} == {"turn-user", "turn-bot"}
    assert len(turns) >= 6
    for one in turns:
        held, rate = soundfile.read(one.path, dtype="int16")
        track = ("turn-user", "turn-bot").index(one.what)
        assert rate == RATE
        assert np.array_equal(held, whole[one.start : one.start + one.frames, track])
        assert sidecar(one)["turn"]["by"] == "vad"
    assert list((tmp_path / "root" / ".work").iterdir()) == []


def test_the_chunks_are_the_same_with_turns_and_without(tmp_path, talk_traces):
    with_turns = replayed(tmp_path / "a", talk_traces, chunk_seconds=7, enable_turn_audio=True)
    without = replayed(tmp_path / "b", talk_traces, chunk_seconds=7)
    assert [audio(one.path) for one in chunks(with_turns)] == [
        audio(one.path) for one in chunks(without)
    ]


@pytest.mark.parametrize("form", ["wav", "flac"])
@pytest.mark.parametrize("enable_turn_audio", [True, False])
def test_of_a_live_microphone_speech_alone_is_kept_to_the_sample(
    tmp_path, talk_traces, form, enable_turn_audio
):
    def chunks_of(folder, **recording):
        published = replayed(tmp_path / folder, talk_traces, chunk_seconds=7, **recording)
        pcm = [soundfile.read(one.path, dtype="int16")[0].T for one in chunks(published)]
        return published, np.concatenate(pcm, axis=1)

    all_of_it, whole = chunks_of("all", enable_turn_audio=True)
    published, held = chunks_of(
        "speech",
        user_continuous_stream=False,
        separate_tracks=True,
        format=form,
        enable_turn_audio=enable_turn_audio,
    )
    spoken = np.zeros(whole.shape[1], bool)
    for one in all_of_it:
        if one.what == "turn-user":
            spoken[one.start : one.start + one.frames] = True
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
        place = slice(one.start, one.start + one.frames)
        assert np.array_equal(soundfile.read(one.path, dtype="int16")[0], held[0, place])
    assert verify(tmp_path / "speech").ok
