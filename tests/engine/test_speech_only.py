"""Speech only: the user track is its turns, sample for sample, and digital silence between them."""

import errno
import logging
from itertools import count

import numpy as np
import pytest

from edgerec.store.archive.verify import verify
from edgerec.store.root import StorageRoot
from tests.rigs.failing_disk import failing_call
from tests.rigs.made_recordings import audio, chunks, sidecar
from tests.rigs.turn_rig import (
    LETTER,
    PATIENCE,
    RULES,
    TurnRig,
    conversation,
    gate_of,
    run_through_failures,
    turn_files,
)

TALK = (
    ".....SSSS.......SS.........S....SSSSSSSS..........",
    "SS......SSSS....................SSSS..SSSSSSS.....",
)


def rig_of(root, **others):
    return TurnRig(root, gate=gate_of(), **others)


def recorded(published):
    return np.concatenate(
        [np.frombuffer(audio(one.path), "<i2").reshape(-1, 2).T for one in chunks(published)],
        axis=1,
    )


@pytest.mark.parametrize("step", [1_500, 2 * LETTER, 7 * LETTER + 11])
def test_a_session_holds_the_users_turns_and_all_of_the_bot(root, step):
    pcm = conversation(*TALK)
    rig = rig_of(root)
    rig.run(pcm, step=step)
    published = rig.finish()
    wanted = np.zeros(pcm.shape[1], bool)
    for one in turn_files(published, "turn-user"):
        place = slice(one.start_frame, one.start_frame + one.frames)
        wanted[place] = True
        assert np.array_equal(np.frombuffer(audio(one.path), "<i2"), pcm[0, place])
    # Two letters before speech and three behind it; one `S` alone is no turn.
    drawn = "...xxxxxxxxx" + "..xxxxxxx" + "." * 9 + "xxxxxxxxxxxxx" + "." * 7
    assert [wanted[index * LETTER : (index + 1) * LETTER].all() for index in range(50)] == [
        letter == "x" for letter in drawn
    ]
    held = recorded(published)
    assert np.array_equal(held[0], pcm[0] * wanted)
    assert np.array_equal(held[1], pcm[1])
    assert verify(root.path).ok
    assert all(sidecar(one)["tracks"]["user"]["gaps"] == [] for one in chunks(published))


def test_chunks_are_the_same_without_turn_files_and_no_part_stays_in_memory(root):
    pcm = conversation(*TALK)
    rig = rig_of(root, turn_audio=False)
    rig.run(pcm)
    for speaker in ("user", "bot"):
        assert len(rig.turns.board.pending(speaker)) <= 1  # the one that goes on
    published = rig.finish()
    assert turn_files(published) == []
    held = recorded(published)
    spoken = np.repeat([letter == "S" for letter in TALK[0]], LETTER)
    spoken[27 * LETTER : 28 * LETTER] = False  # a click
    assert np.array_equal(held[0, spoken], pcm[0, spoken])
    assert not held[0, : 3 * LETTER].any()
    assert np.array_equal(held[1], pcm[1])


def test_the_writer_is_behind_by_a_pre_roll_and_the_detector_and_no_more(root):
    rig = rig_of(root)
    pcm = conversation(*TALK)
    for start in range(0, pcm.shape[1], LETTER):
        rig.commit(pcm[:, start : start + LETTER])
        rig.find()
        rig.write()
        behind = rig.history.committed - rig.recording.position
        # The detector's letter, a pre-roll, and speech that may become a turn.
        assert behind <= LETTER + RULES.pre_roll + 2 * RULES.min_speech


def test_a_turn_thread_that_hangs_costs_silence_and_no_speech(root, caplog):
    rig = rig_of(root)
    pcm = conversation("S" * 400, "." * 400)
    with caplog.at_level(logging.WARNING):
        for start in range(0, pcm.shape[1], LETTER):
            rig.commit(pcm[:, start : start + LETTER])
            rig.write()
            assert rig.history.committed - rig.recording.position <= PATIENCE
    assert caplog.text.count("speech detection is too slow") == 1
    rig.find()  # it goes on: what is written is written, and turns are found again
    published = rig.finish()
    assert np.array_equal(recorded(published), pcm)
    assert verify(root.path).ok


def test_what_a_detector_had_no_time_for_is_kept(root):
    rig = TurnRig(root, gate=gate_of(patience=10**9), keep_s=20.0)
    pcm = conversation("." * 900, "." * 900)
    rig.commit(pcm[:, : 10 * LETTER])
    rig.find()
    assert rig.timeline.gate.decided == 7 * LETTER  # but for the detector's letter and a pre-roll
    for start in range(10 * LETTER, pcm.shape[1], 100 * LETTER):
        rig.commit(pcm[:, start : start + 100 * LETTER])
    rig.find()
    [(start, stop)] = rig.timeline.gate._kept
    published = rig.finish()
    first = chunks(published)[0]
    assert sidecar(first)["missing_before"] == first.start_frame  # the disk was too late as well
    assert start < first.start_frame < stop < pcm.shape[1] - LETTER
    held = recorded(published)[0]
    unjudged = stop - first.start_frame
    assert np.array_equal(held[:unjudged], pcm[0, first.start_frame : stop])
    assert not held[unjudged:].any()


def test_a_detector_that_fails_leaves_all_that_follows_as_it_is(root):
    rig = rig_of(root)
    pcm = conversation("." * 40, "." * 40)
    rig.commit(pcm[:, : 20 * LETTER])
    rig.find()
    rig.turns.end()  # as the turn thread does then
    rig.commit(pcm[:, 20 * LETTER :])
    rig.write()
    rig.timeline.stop = rig.history.committed
    held = recorded(rig.finish_writing())
    decided = rig.timeline.gate.decided
    assert 0 < decided < 20 * LETTER
    assert not held[0, :decided].any()
    assert np.array_equal(held[:, decided:], pcm[:, decided:])


def test_what_a_failing_disk_has_written_again_is_as_silent_as_before(tmp_path):
    pcm = conversation("....SSSS........", "SSSS............")
    wanted = pcm.copy()
    wanted[0, : 2 * LETTER] = wanted[0, 11 * LETTER :] = 0
    for nth in count(1, 7):  # disk calls; each kind is among them
        with StorageRoot(tmp_path / str(nth)) as root:
            rig = rig_of(root)
            with failing_call(nth, errno.EIO) as calls:
                run_through_failures(rig, pcm)
                last = calls() < nth
            files = sorted(root.ready.rglob("*_chunk.wav"))  # some without having been told of
            held = np.frombuffer(b"".join(map(audio, files)), "<i2").reshape(-1, 2).T
            assert np.array_equal(held, wanted), nth
            assert verify(root.path).ok, nth
        if last:
            return


def mark(rig, letter, *, speaking):
    rig.turns.mark("user", at_ns(rig, letter), at_ns(rig, letter), speaking=speaking)


def at_ns(rig, letter):
    return rig.timeline.stamp_of(letter * LETTER).monotonic_ns


def test_marks_count_and_a_late_one_begins_where_nothing_is_written_yet(root):
    rig = rig_of(root)
    pcm = conversation("." * 60, "." * 60)
    rig.commit(pcm[:, : 20 * LETTER])
    rig.find()
    rig.write()
    written = rig.recording.position
    mark(rig, 5, speaking=True)  # of long ago
    mark(rig, 25, speaking=False)
    rig.commit(pcm[:, 20 * LETTER : 40 * LETTER])
    rig.find()
    rig.write()
    published = rig.finish()
    (turn,) = turn_files(published, "turn-user")
    assert turn.start_frame == written == 17 * LETTER
    held = recorded(published)
    place = slice(turn.start_frame, 28 * LETTER)
    assert turn.frames == 11 * LETTER
    assert np.array_equal(held[0, place], pcm[0, place])
    assert not held[0, : turn.start_frame].any()
    assert not held[0, 28 * LETTER :].any()
