"""Turns as files: found, written and published by the parts of the service, in one thread."""

import errno
import gc
import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from edgerec.audio import GapReason
from edgerec.store.cutting import Cutting
from edgerec.store.described import read_sidecar
from edgerec.store.layout import Layout
from edgerec.store.recover import recover
from edgerec.store.root import StorageRoot
from edgerec.store.sidecar import kind_of
from edgerec.store.verify import verify
from tests.failing_disk import Killed, failing_call
from tests.recordings import sidecar
from tests.turning import (
    LETTER,
    RATE,
    RULES,
    TurnRig,
    conversation,
    run_through_failures,
    stamp_of,
    turn_files,
)

USER = "....SSSSS.......SSS.....SSSSSS......."
BOT = ".SSSSSS......SSSS..........SSSS......"
NOW = stamp_of(10_000)
NEXT_BOOT = replace(NOW, boot_id="the next boot")


def samples(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def test_files_tell_how_the_microphone_hears_the_bot(root):
    rig = TurnRig(root)
    rig.run(conversation(USER, BOT))
    for one in rig.finish():
        tracks = sidecar(one)["tracks"]
        if one.kind != "session" and "user" in tracks:
            assert tracks["user"]["echo_delay_ms"] == 62.0
            assert tracks["user"]["echo_return_db"] == -9.5


def assert_views_of(published, pcm, *, exact=True):
    """Every turn holds, of its own track, the frames that the chunks hold."""
    chunks = np.zeros_like(pcm)
    there = np.zeros(pcm.shape[1], bool)
    for one in published:
        if one.what == "chunk":
            span = slice(one.start, one.start + one.frames)
            chunks[:, span], there[span] = samples(one.path).T, True
    turns = turn_files(published)
    for turn in turns:
        held = samples(turn.path)
        track = ("turn-user", "turn-bot").index(turn.what)
        assert held.shape == (turn.frames, 1)
        if exact:
            span = slice(turn.start, turn.start + turn.frames)
            assert np.array_equal(held[:, 0], pcm[track, span])
            assert np.array_equal(held[there[span], 0], chunks[track, span][there[span]])
    return turns


@pytest.mark.parametrize("form", ["wav", "flac", "opus"])
@pytest.mark.parametrize("separate", [False, True])
def test_turns_hold_the_very_samples_of_the_chunks(root, form, separate):
    pcm = conversation(USER, BOT)
    rig = TurnRig(root, layout=Layout(RATE, 2, separate_tracks=separate, format=form))
    rig.run(pcm)
    published = rig.finish()
    turns = assert_views_of(published, pcm, exact=form != "opus")
    for what in ("turn-user", "turn-bot"):
        assert [one.sequence for one in turns if one.what == what] == [0, 1, 2]
    assert verify(root.path).findings == ()
    assert list(root.work.iterdir()) == []


def test_a_turn_file_says_whose_it_is_and_where_its_speech_is(root):
    rig = TurnRig(root)
    rig.run(conversation(USER, BOT))
    published = rig.finish()
    first = next(one for one in published if one.what == "turn-user")
    assert first.path.name.endswith("9f3a01c2_000000_turn-user.wav")
    described = sidecar(first)
    assert described["kind"] == "turn"
    assert described["turn"] == {
        "speaker": "user",
        "number": 2,
        "part": 0,
        "speech_start_frame": 4 * LETTER,
        "speech_end_frame": 9 * LETTER,
        "by": "vad",
        "interrupted": False,
    }
    assert (described["start_frame"], described["frames"]) == (2 * LETTER, 10 * LETTER)
    assert described["format"]["channels"] == ["user"]
    assert list(described["tracks"]) == ["user"]
    assert (described["end_reason"], described["missing_before"]) == ("turn", 0)
    bot = sidecar(next(one for one in published if one.what == "turn-bot"))
    assert bot["turn"]["interrupted"]  # the user began at 4, the bot fell silent at 7


def test_the_closing_record_counts_turns_and_their_frames_only_once(root):
    rig = TurnRig(root)
    rig.run(conversation(USER, BOT))
    closing = json.loads(rig.finish()[-1].path.read_text())
    assert closing["files"] == {"chunk": 6, "turn-bot": 3, "turn-user": 3}
    assert closing["frames"] == len(USER) * LETTER
    assert closing["losses"] == {}


def test_gaps_inside_a_turn_are_declared_in_its_file(root):
    pcm = conversation("..SSSSSSSS....", "." * 14)
    reasons = np.zeros_like(pcm, dtype=np.uint8)
    hole = slice(5 * LETTER + 7, 5 * LETTER + 107)
    pcm[0, hole], reasons[0, hole] = 0, GapReason.XRUN
    rig = TurnRig(root)
    rig.commit(pcm, reasons)
    rig.find()
    rig.write()
    (turn,) = turn_files(rig.finish())
    assert sidecar(turn)["tracks"]["user"]["gaps"] == [
        {"start_frame": hole.start, "frames": 100, "reason": "xrun"}
    ]


def test_a_turn_is_written_while_it_goes_on_and_published_when_the_session_stops(root):
    pcm = conversation("...SSSSSSSSSS", "." * 13)
    rig = TurnRig(root)
    rig.run(pcm)
    assert turn_files(rig.published) == []
    (file,) = root.work.glob("*_turn-user.wav")
    assert file.stat().st_size > 8 * LETTER * 2
    (turn,) = turn_files(rig.finish())
    assert (turn.start, turn.frames, turn.end_reason) == (LETTER, 12 * LETTER, "stop")
    assert sidecar(turn)["turn"]["speech_end_frame"] == 13 * LETTER
    assert verify(root.path).findings == ()


def test_a_long_turn_is_several_files_of_one_turn(root):
    pcm = conversation("..SSSSSSSSSSSSSSSSSSSSSS......", "." * 30)
    rules = replace(RULES, max_turn=10 * LETTER)
    rig = TurnRig(root, rules=rules)
    rig.run(pcm)
    turns = assert_views_of(rig.finish(), pcm)
    assert [(one.start, one.frames, one.end_reason) for one in turns] == [
        (0, 10 * LETTER, "full"),
        (10 * LETTER, 10 * LETTER, "full"),
        (20 * LETTER, 7 * LETTER, "turn"),
    ]
    assert [sidecar(one)["turn"]["part"] for one in turns] == [0, 1, 2]
    assert {sidecar(one)["turn"]["number"] for one in turns} == {1}
    assert verify(root.path).findings == ()


def test_turn_files_are_cut_where_a_sidecar_can_list_no_more_gaps(root, monkeypatch):
    monkeypatch.setattr("edgerec.store.ledger.MAX_CHANGES", 10)
    pcm = conversation("..SSSSSSSS.....", "." * 15)
    reasons = np.zeros_like(pcm, dtype=np.uint8)
    for frame in range(3 * LETTER, 8 * LETTER, 200):
        pcm[0, frame : frame + 3], reasons[0, frame : frame + 3] = 0, GapReason.XRUN
    rig = TurnRig(root, cutting=Cutting(None, 10**9))
    rig.commit(pcm, reasons)
    rig.find()
    rig.write()
    turns = assert_views_of(rig.finish(), pcm)
    assert [sidecar(one)["turn"]["part"] for one in turns] == list(range(len(turns)))
    assert len(turns) > 2
    assert turns[0].end_reason == "rotate"
    assert verify(root.path).ok


def crashed(root, *, synced_at=None, **how):
    """Record without an end."""
    rig = TurnRig(root, **how)
    rig.run(conversation(USER, BOT)[:, : 31 * LETTER], sync_every=synced_at)
    return rig.published


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_after_a_kill_a_turn_is_published_as_far_as_it_was_written(root, form):
    published = crashed(root, layout=Layout(RATE, 2, format=form))
    done = recover(root, NOW)
    pcm = conversation(USER, BOT)
    turns = assert_views_of(published + done.published, pcm)
    last = [one for one in turns if one.what == "turn-user"][-1]
    described = sidecar(last)
    assert (described["recovered"], described["end_reason"]) == (True, "crash")
    assert described["turn"]["speech_end_frame"] == last.start + last.frames
    assert last.start == 22 * LETTER
    assert last.start + last.frames >= 28 * LETTER
    assert verify(root.path).ok
    assert list(root.work.iterdir()) == list(root.quarantine.iterdir()) == []
    assert recover(root, NOW).published == []


def test_after_a_power_cut_a_turn_is_published_as_far_as_it_was_synced(root):
    published = crashed(root, synced_at=5)
    done = recover(root, NEXT_BOOT)
    turns = assert_views_of(published + done.published, conversation(USER, BOT))
    assert [one.what for one in done.published].count("turn-user") == 1
    assert turns[-1].start + turns[-1].frames <= 30 * LETTER
    assert verify(root.path).ok


def test_a_turn_whose_beginning_is_no_longer_in_memory_says_so(root):
    rig = TurnRig(root, keep_s=1.0, rules=replace(RULES, max_turn=10**9))
    pcm = conversation("..SSSSS" + "S" * 140, "." * 147)
    rig.commit(pcm[:, : 8 * LETTER])
    rig.find()
    rig.write()
    for start in range(8, 147, 20):  # the disk hangs: nothing is written
        rig.commit(pcm[:, start * LETTER : (start + 20) * LETTER])
        rig.find()
    rig.write()
    before, after = assert_views_of(rig.finish(), pcm)
    assert (before.end_reason, sidecar(before)["turn"]["part"]) == ("disk", 0)
    described = sidecar(after)
    assert described["turn"]["part"] == 1
    assert described["missing_before"] == after.start - before.start - before.frames > 0
    assert verify(root.path).ok


def test_a_disk_that_fails_once_at_any_call_costs_no_frame_of_a_turn(tmp_path):
    pcm = conversation("..SSSS......", ".SSSS.......")
    calls = count_calls(tmp_path / "count", pcm)
    assert calls > 100
    for nth in range(1, calls + 1, 3):  # every third is enough: each kind is among them
        with StorageRoot(tmp_path / str(nth)) as root:
            rig = TurnRig(root)
            with failing_call(nth, errno.EIO):
                published = run_through_failures(rig, pcm)
            assert published
            turns = assert_views_of(files_in(root), pcm)
            for what, frames in (("turn-user", 9 * LETTER), ("turn-bot", 8 * LETTER)):
                own = [one for one in turns if one.what == what]
                assert sum(one.frames for one in own) == frames, nth
                assert [sidecar(one)["turn"]["part"] for one in own] == list(range(len(own)))
            report = verify(root.path)
            assert report.ok, (nth, report.findings)
            assert list(root.work.iterdir()) == [], nth


def files_in(root):
    """What is published, whoever finished it, in order."""
    files = [
        SimpleNamespace(
            path=one.path,
            sidecar=one.path.with_suffix(".json"),
            kind=kind_of(one.key.what),
            what=one.key.what,
            sequence=one.key.sequence,
            start=one.start,
            frames=one.frames,
        )
        for one in map(read_sidecar, root.ready.rglob("*.json"))
        if one.key.what != "session"
    ]
    return sorted(files, key=lambda file: (file.what, file.sequence))


def count_calls(path, pcm):
    with StorageRoot(path) as root:
        rig = TurnRig(root)
        with failing_call(10**9, errno.EIO) as count:
            run_through_failures(rig, pcm)
            return count()


def test_a_kill_at_any_disk_call_leaves_only_whole_turn_files(tmp_path):
    pcm = conversation("..SSSS......", ".SSSS.......")
    calls = count_calls(tmp_path / "count", pcm)
    for nth in range(2, calls + 1, 5):
        with StorageRoot(tmp_path / str(nth)) as root:
            rig = TurnRig(root)
            try:
                with failing_call(nth, None):
                    run_through_failures(rig, pcm)
            except Killed:
                pass
            recover(root, NOW)
            assert_views_of(files_in(root), pcm)
            report = verify(root.path)
            assert report.ok, (nth, report.findings)
            assert list(root.work.iterdir()) == list(root.quarantine.iterdir()) == [], nth


def test_turns_take_no_memory_once_they_are_published(root):
    rig = TurnRig(root, cutting=Cutting(20 * LETTER, 10**9))
    pcm = conversation("..SSS.....", "....SS....")
    held = []
    tracemalloc.start()
    for count in range(80):
        rig.run(pcm, step=10 * LETTER)
        rig.published.clear()
        if count in (30, 79):
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # pathlib keeps the names of files it has met; a name is 60 bytes, and a turn has a few.
    assert held[1] - held[0] < 50 * 2 * 200
