"""Inputs that are cut off or damaged: what came before is published, what is wrong is said."""

import dataclasses
import os

import numpy as np
import pytest

from edgerec.engine.replay import replay
from edgerec.engine.replay_input import MAX_HOLES_S, ReplayError
from edgerec.simulation.conversation import silence
from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.wire.trace import TraceError, TraceWriter, open_input
from tests.rigs.alignment import noise
from tests.rigs.fakes import S, config, write_traces
from tests.rigs.made_recordings import chunks
from tests.rigs.replay_rig import RATE, gaps, replayed, write_wav


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
    with pytest.raises(ReplayError, match=rf"user\.trace, byte {at}: .*not the beginning of"):
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


JUMPS = {  # what is added to the stamps of the nth block of 100 ms
    "a day": lambda nth: 86_400 * (nth >= 20),
    "three hours": lambda nth: 10_800 * (nth >= 20),
    "a single block": lambda nth: 10_800 * (nth == 20),
    "in steps": lambda nth: 290 * (nth // 10),
    "in small steps": lambda nth: 60 * (nth // 2),
    "with each block": lambda nth: 40 * nth,
}


@pytest.mark.parametrize("tracks", [["user"], ["user", "bot"]])
@pytest.mark.parametrize("name", JUMPS)
def test_stamps_that_jump_ahead_end_the_replay_and_write_no_hours_of_silence(
    tmp_path, name, tracks
):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1, world=silence)
    paths = write_traces(tmp_path, kiosk, 5.0)
    for track in tracks:
        header, *blocks = open_input(paths[track], track)
        paths[track] = tmp_path / f"wild-{track}.trace"
        with TraceWriter(paths[track]) as trace:
            trace.write(header)
            for nth, block in enumerate(blocks):
                late_ns = block.arrived_ns + JUMPS[name](nth) * S
                trace.write(dataclasses.replace(block, arrived_ns=late_ns, adc_ns=0))
    published = []
    with pytest.raises(ReplayError, match=r"wild-.*: a block's stamp is \d+ s after the first"):
        replay(config(tmp_path / "root"), paths, on_published=published.append)
    written_s = sum(chunk.frames for chunk in chunks(published)) / RATE
    assert 0.5 < written_s < MAX_HOLES_S + 2 * 5
    assert verify(tmp_path / "root").ok


def test_an_input_without_audio_for_minutes_is_replayed_with_its_silence(tmp_path):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(), seed=1, world=silence)
    header, *blocks = open_input(write_traces(tmp_path, kiosk, 5.0)["user"], "user")
    path = tmp_path / "paused.trace"
    with TraceWriter(path) as trace:
        trace.write(header)
        for nth, block in enumerate(blocks):
            late_ns = block.arrived_ns + (60 * (nth // 10)) * S
            trace.write(dataclasses.replace(block, arrived_ns=late_ns, adc_ns=0))
    published = replayed(tmp_path / "root", {"user": path})
    (chunk,) = chunks(published)
    assert chunk.frames / RATE == pytest.approx(4 * 60 + 5, abs=1.5)


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


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "u.wav"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(TraceError, match="not a regular file; write it to one first"):
            replayed(tmp_path / "root", {"user": path})
    assert not (tmp_path / "root").exists()


def test_a_root_without_a_parent_is_named(tmp_path):
    path = write_wav(tmp_path / "u.wav", np.zeros(4_800))
    with pytest.raises(StoreError, match=r"making the folder .*/nowhere/root: there is no "):
        replayed(tmp_path / "nowhere" / "root", {"user": path})
