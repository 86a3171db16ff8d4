import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import Gap, GapReason
from edgerec.store.records import gap_map
from edgerec.store.records.gap_map import Change, TrackLedger, gaps_between

CODES = st.sampled_from([0, *GapReason])
RUNS = st.lists(st.tuples(CODES, st.integers(1, 9)), max_size=20)


def codes_of(runs):
    return np.repeat(np.array([code for code, _ in runs], np.uint8), [length for _, length in runs])


def ledger_of(reasons, samples=None, *, start=100, sizes=()):
    held = TrackLedger()
    samples = np.zeros(len(reasons), np.int16) if samples is None else samples
    for piece in np.split(np.arange(len(reasons)), np.cumsum(sizes).clip(max=len(reasons))):
        if len(piece):
            held.add(start + int(piece[0]), samples[piece], reasons[piece])
    return held


@given(RUNS, st.lists(st.integers(1, 9), max_size=20))
def test_gaps_say_of_every_frame_what_it_is_however_it_arrived(runs, sizes):
    reasons = codes_of(runs)
    stop = 100 + len(reasons)
    gaps = list(gaps_between(ledger_of(reasons, sizes=sizes).changes, stop))
    drawn = np.zeros(len(reasons), np.uint8)
    for gap in gaps:
        assert gap.frames > 0
        place = slice(gap.start - 100, gap.start - 100 + gap.frames)
        assert not drawn[place].any()  # no frame is in two gaps
        drawn[place] = gap.reason
    assert (drawn == reasons).all()
    assert all(
        one.start + one.frames < two.start or one.reason != two.reason
        for one, two in itertools.pairwise(gaps)
    )  # as few as can be


def test_a_gap_that_is_still_open_ends_with_the_file():
    assert list(gaps_between([Change(5, GapReason.STALL)], 9)) == [Gap(5, 4, GapReason.STALL)]


def test_changes_behind_the_end_of_the_file_do_not_count():
    changes = [Change(5, GapReason.STALL), Change(9, GapReason.XRUN), Change(12, 0)]
    assert list(gaps_between(changes, 9)) == [Gap(5, 4, GapReason.STALL)]


@given(st.integers(1, 6), RUNS)
def test_what_fits_needs_no_more_changes_than_there_may_be(limit, runs):
    reasons = codes_of(runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gap_map, "MAX_CHANGES", limit)
        fitting = TrackLedger().fits(100, reasons)
    assert len(ledger_of(reasons[:fitting]).changes) <= limit
    assert fitting == len(reasons) or len(ledger_of(reasons[: fitting + 1]).changes) == limit + 1


def test_levels_of_a_full_scale_sine():
    sine = np.round(32767 * np.sin(np.arange(48000) * 2 * math.pi / 48)).astype(np.int16)
    levels = ledger_of(np.zeros(48000, np.uint8), sine, sizes=[7, 700]).levels(48000)
    assert (levels.peak_dbfs, levels.rms_dbfs) == (0.0, -3.0)
    assert levels.clipped == 1000  # once a period of 48 frames; -32767 is not the lower end


def test_levels_leave_gaps_out():
    samples = np.array([16384, -16384, 0, 0], np.int16)
    held = ledger_of(np.array([0, 0, 1, 1], np.uint8), samples)
    assert held.levels(recorded_frames=2).rms_dbfs == -6.0


def test_lowest_sample_is_full_scale_and_clipped():
    levels = ledger_of(np.zeros(1, np.uint8), np.array([-32768], np.int16)).levels(1)
    assert (levels.peak_dbfs, levels.clipped) == (0.0, 1)


@pytest.mark.parametrize("recorded_frames", [0, 3])
def test_digital_silence_has_no_level(recorded_frames):
    levels = ledger_of(np.zeros(3, np.uint8)).levels(recorded_frames)
    assert (levels.peak_dbfs, levels.rms_dbfs, levels.clipped) == (None, None, 0)
