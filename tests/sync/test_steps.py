"""A step of a stream's dates, told from single dates that are off."""

import pytest

from edgerec.sync.dated_clock import MISPLACED_S
from edgerec.sync.lateness import ON_TIME, WAIT, Judgement
from edgerec.sync.steps import FLAGGED_STEP_S, StepRun

LUMP_S = 0.25


def judged(*offs, overflow=False):
    run = StepRun()
    return [run.judge(off_s, overflow=overflow and nth == 0) for nth, off_s in enumerate(offs)]


def test_dates_in_their_place_and_blocks_without_one_pass():
    assert judged(0.0, None, MISPLACED_S, None) == [Judgement(1), ON_TIME, Judgement(1), ON_TIME]


def test_one_date_that_is_off_is_waited_upon_and_passes_with_the_next():
    assert judged(LUMP_S, None, 0.0) == [WAIT, WAIT, Judgement(3)]


@pytest.mark.parametrize("step_s", [LUMP_S, -LUMP_S, 1.1 * MISPLACED_S])
def test_three_dates_that_are_off_alike_are_a_step(step_s):
    assert judged(step_s, step_s, None, step_s) == [WAIT, WAIT, WAIT, Judgement(4, lost_s=step_s)]


def test_three_dates_that_are_off_by_different_lumps_are_none():
    assert judged(LUMP_S, -LUMP_S, 2 * LUMP_S) == [WAIT] * 3


def test_after_an_overflow_a_smaller_step_counts_and_blocks_wait_for_a_date():
    step_s = 2 * FLAGGED_STEP_S
    assert step_s < MISPLACED_S
    assert judged(None, step_s, step_s, step_s, overflow=True) == [
        WAIT, WAIT, WAIT, Judgement(4, lost_s=step_s),
    ]  # fmt: skip


def test_what_could_not_be_waited_for_is_forgotten():
    run = StepRun()
    run.judge(LUMP_S, overflow=False)
    run.drop()
    assert run.judge(None, overflow=False) == ON_TIME
