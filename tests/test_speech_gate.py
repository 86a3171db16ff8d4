"""Speech only: the user track is its turns, sample for sample, and digital silence between them."""

import errno
import logging
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Span, TimelineFrame
from edgerec.service.speech_gate import MAX_KEPT, SpeechGate
from edgerec.store.root import StorageRoot
from edgerec.store.verify import verify
from edgerec.turns.activity import Judged
from edgerec.turns.growing import TurnRules
from edgerec.turns.tracker import TurnTracker
from tests.failing_disk import failing_call
from tests.recordings import audio, chunks, sidecar
from tests.turning import LETTER, RULES, TurnRig, conversation, run_through_failures, turn_files

PATIENCE = 50 * LETTER
TALK = (
    ".....SSSS.......SS.........S....SSSSSSSS..........",
    "SS......SSSS....................SSSS..SSSSSSS.....",
)


def gate_of(patience=PATIENCE, reach=10_000_000):
    return SpeechGate(patience, reach)


def span(start, frames):
    pcm = np.arange(start + 1, start + 1 + frames, dtype=np.int16)
    return Span(TimelineFrame(start), np.stack((pcm, -pcm)), np.zeros((2, frames), np.uint8))


stretches = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=12)


@settings(deadline=None)
@given(stretches, st.lists(st.integers(1, 40), min_size=1), st.integers(0, 30))
def test_every_frame_that_is_kept_is_the_original_and_every_other_one_is_silence(
    drawn, pieces, more
):
    kept, position = [], 0
    for pause, length in drawn:
        kept.append((position + pause, position + pause + length))
        position += pause + length
    gate = gate_of()
    for start, stop in kept:  # as they grow
        for end in range(start + 1, stop + 1):
            gate.keep([(start, end)], end)
    total = position + more
    gate.keep([], total)
    wanted = np.zeros(total, bool)
    for start, stop in kept:
        wanted[start:stop] = True
    at, taken = 0, 0
    while at < total:
        length = min(pieces[taken % len(pieces)], total - at)
        given_span = span(at, length)
        held = gate.silenced(given_span)
        assert np.array_equal(held.pcm[0], given_span.pcm[0] * wanted[at : at + length])
        assert np.array_equal(held.pcm[1], given_span.pcm[1])
        assert given_span.pcm[0].all()  # what others read is not touched
        at, taken = at + length, taken + 1


def test_what_is_not_decided_is_waited_for_and_then_kept_as_it_is(caplog):
    gate = gate_of(patience=100)
    gate.keep([(10, 20)], 30)
    assert gate.writable(TimelineFrame(90)) == 30
    assert gate.writable(TimelineFrame(130)) == 30
    with caplog.at_level(logging.WARNING):
        assert gate.writable(TimelineFrame(150)) == 50
        assert gate.writable(TimelineFrame(160)) == 60
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    held = gate.silenced(span(0, 60)).pcm[0]
    assert np.flatnonzero(held == 0).tolist() == [*range(10), *range(20, 30)]


def test_what_is_decided_stays_so_and_what_never_will_be_is_kept():
    gate = gate_of()
    gate.keep([], 30)
    gate.keep([], 10)
    assert gate.decided == 30
    gate.open()
    assert gate.writable(TimelineFrame(90)) == 90
    assert np.flatnonzero(gate.silenced(span(0, 90)).pcm[0] == 0).tolist() == [*range(30)]


def test_what_was_not_judged_is_kept_though_what_lies_before_it_is_open():
    gate = gate_of()
    gate.keep([(40, 60)], 20)
    assert np.flatnonzero(gate.silenced(span(0, 80)).pcm[0] == 0).tolist() == [*range(20)]


def test_no_more_is_remembered_than_can_be_asked_for():
    gate = gate_of(reach=100)
    for start in range(0, 10_000, 10):
        gate.keep([(start, start + 5)], start + 5)
    assert len(gate._kept) <= 100 / 10 + 1
    crowded = gate_of()
    for start in range(0, 10 * MAX_KEPT, 2):
        crowded.keep([(start, start + 1)], start + 1)
    assert len(crowded._kept) == MAX_KEPT
    held = crowded.silenced(span(0, 10 * MAX_KEPT)).pcm[0]
    assert held[0 : 10 * MAX_KEPT : 2].all()  # rather a pause too much than a word too little


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
        place = slice(one.start, one.start + one.frames)
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
    assert caplog.text.count("not known in time") == 1
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
    assert sidecar(first)["missing_before"] == first.start  # the disk was too late as well
    assert start < first.start < stop < pcm.shape[1] - LETTER
    held = recorded(published)[0]
    unjudged = stop - first.start
    assert np.array_equal(held[:unjudged], pcm[0, first.start : stop])
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
    assert turn.start == written == 17 * LETTER
    held = recorded(published)
    place = slice(turn.start, 28 * LETTER)
    assert turn.frames == 11 * LETTER
    assert np.array_equal(held[0, place], pcm[0, place])
    assert not held[0, : turn.start].any()
    assert not held[0, 28 * LETTER :].any()


judgements = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(1, 12),
        st.none() | st.tuples(st.integers(-20, 10), st.booleans()),
    ),
    min_size=1,
    max_size=25,
)
RULES_DRAWN = st.builds(
    TurnRules,
    pre_roll=st.integers(0, 5),
    hangover=st.integers(1, 8),
    min_speech=st.integers(1, 8),
    max_turn=st.integers(6, 30),
)


@settings(deadline=None)
@given(judgements, RULES_DRAWN)
def test_whatever_is_judged_or_marked_what_was_written_holds_the_turns_and_nothing_else(
    drawn, rules
):
    tracker = TurnTracker(rules, yields=10)
    gate = gate_of(patience=10**9)
    turns, written, position = {}, [], 0

    def told(parts):
        for part in parts:
            turns[part.number, part.part] = part
        gate.keep([(part.start, part.stop) for part in parts], tracker.decided("user"))

    def write(limit):
        at = sum(len(one) for one in written)
        if limit > at:
            written.append(gate.silenced(span(at, limit - at)).pcm[0])

    for speech, length, mark in drawn:
        judged = Judged("user", TimelineFrame(position), TimelineFrame(position + length), speech)
        position += length
        told(tracker.push([judged]))
        if mark is not None:
            frame = TimelineFrame(max(0, position + mark[0]))
            told(tracker.mark("user", frame, gate.decided, speaking=mark[1]))
        write(gate.writable(TimelineFrame(position)))
    told(tracker.finish())
    gate.keep([], position)
    write(position)
    wanted = np.zeros(position, bool)
    for part in turns.values():
        wanted[part.start : part.stop] = True
    assert np.array_equal(np.concatenate(written) != 0, wanted)
