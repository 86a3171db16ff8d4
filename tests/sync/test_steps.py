"""A step of a stream's dates, told from single dates that are off."""

import pytest

from edgerec.sync.dated_clock import MISPLACED_S, NEEDED
from edgerec.sync.lateness import DECIDE_S, FLAGGED_STEP_S, ON_TIME, WAIT, Judgement, StepRun

LUMP_S = 0.25
BLOCK_S = 0.25
BLOCKS = 4
"""After as many a step has stayed long enough."""


def judged(*offs, overflow=False):
    run = StepRun()
    return [
        run.judge(
            off_s,
            round(nth * BLOCK_S * 1e9),
            misplaced_s=MISPLACED_S,
            overflow=overflow and nth == 0,
        )
        for nth, off_s in enumerate(offs)
    ]


def test_the_rig_s_step_stays_just_long_enough():
    assert (BLOCKS - 2) * BLOCK_S < DECIDE_S <= (BLOCKS - 1) * BLOCK_S
    assert BLOCKS > NEEDED


def test_dates_in_their_place_and_blocks_without_one_pass():
    assert judged(0.0, None, MISPLACED_S, None) == [Judgement(1), ON_TIME, Judgement(1), ON_TIME]


def test_dates_that_are_off_for_a_moment_pass_with_the_next_good_one():
    assert judged(LUMP_S, None, LUMP_S, 0.0) == [WAIT, WAIT, WAIT, Judgement(4)]


@pytest.mark.parametrize("step_s", [LUMP_S, -LUMP_S, 1.1 * MISPLACED_S])
def test_dates_that_stay_off_alike_are_a_step(step_s):
    last = Judgement(BLOCKS, lost_s=step_s)
    assert judged(*[step_s] * BLOCKS) == [*[WAIT] * (BLOCKS - 1), last]


def test_two_dates_are_no_step_however_far_apart():
    assert judged(LUMP_S, None, None, None, None, LUMP_S) == [WAIT] * 6


def test_dates_that_are_off_by_different_lumps_are_none():
    assert judged(*[LUMP_S, -LUMP_S, 2 * LUMP_S] * BLOCKS) == [WAIT] * 3 * BLOCKS


def test_after_an_overflow_a_smaller_step_counts_as_soon_as_enough_dates_say_so():
    step_s = 2 * FLAGGED_STEP_S
    assert step_s < MISPLACED_S
    last = Judgement(NEEDED + 1, lost_s=step_s)
    assert judged(None, *[step_s] * NEEDED, overflow=True) == [*[WAIT] * NEEDED, last]


def test_what_could_not_be_waited_for_is_forgotten():
    run = StepRun()
    run.judge(LUMP_S, 0, misplaced_s=MISPLACED_S, overflow=False)
    run.drop()
    assert run.judge(None, 0, misplaced_s=MISPLACED_S, overflow=False) == ON_TIME
