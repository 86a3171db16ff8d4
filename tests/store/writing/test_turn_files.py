"""Turns as files: found, written and published by the parts of the service, in one thread."""

import gc
import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerec.audio import GapReason
from edgerec.store.archive.verify import verify
from edgerec.store.records.layout import Layout
from edgerec.store.root import StorageRoot
from edgerec.store.writing.rotation import Cutting
from tests.rigs.made_recordings import sidecar
from tests.rigs.turn_rig import (
    BOT,
    LETTER,
    RATE,
    RULES,
    USER,
    TurnRig,
    assert_views_of,
    conversation,
    turn_files,
)


def test_files_tell_how_the_microphone_hears_the_bot(root):
    rig = TurnRig(root)
    rig.run(conversation(USER, BOT))
    for one in rig.finish():
        tracks = sidecar(one)["tracks"]
        if one.kind != "session" and "user" in tracks:
            assert tracks["user"]["echo_delay_ms"] == 62.0
            assert tracks["user"]["echo_return_db"] == -9.5


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
        "exchange": 2,  # the bot had spoken
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
    assert (turn.start_frame, turn.frames, turn.end_reason) == (LETTER, 12 * LETTER, "stop")
    assert sidecar(turn)["turn"]["speech_end_frame"] == 13 * LETTER
    assert verify(root.path).findings == ()


def test_a_long_turn_is_several_files_of_one_turn(root):
    pcm = conversation("..SSSSSSSSSSSSSSSSSSSSSS......", "." * 30)
    rules = replace(RULES, max_turn=10 * LETTER)
    rig = TurnRig(root, rules=rules)
    rig.run(pcm)
    turns = assert_views_of(rig.finish(), pcm)
    assert [(one.start_frame, one.frames, one.end_reason) for one in turns] == [
        (0, 10 * LETTER, "full"),
        (10 * LETTER, 10 * LETTER, "full"),
        (20 * LETTER, 7 * LETTER, "turn"),
    ]
    assert [sidecar(one)["turn"]["part"] for one in turns] == [0, 1, 2]
    assert {sidecar(one)["turn"]["number"] for one in turns} == {1}
    assert verify(root.path).findings == ()


def test_turn_files_are_cut_where_a_sidecar_can_list_no_more_gaps(root, monkeypatch):
    monkeypatch.setattr("edgerec.store.records.gap_map.MAX_CHANGES", 10)
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


def test_turns_take_no_memory_once_they_are_published(tmp_path):
    """In a process of its own: tables of the interpreter that others have filled grow in steps."""
    code = f"from {__name__} import grown_bytes; print(grown_bytes({str(tmp_path / 'root')!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 50 * 2 * 200


def grown_bytes(folder):
    """Return what 49 rounds of turns have left in memory."""
    sys.intern = str  # pathlib keeps the names of files it has met: not what this is about
    with StorageRoot(Path(folder)) as root:
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
        return held[1] - held[0]
