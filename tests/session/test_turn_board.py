"""The gate of speech: every frame of a turn is kept, and every other one is silence."""

import logging

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Span, TimelineFrame
from edgerec.session.turn_board import MAX_KEPT
from edgerec.turns.segmenter import Judged, TurnRules
from edgerec.turns.tracker import TurnTracker
from tests.rigs.turn_rig import gate_of


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
