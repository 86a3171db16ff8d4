import math

import pytest

from edgerec.sync.lateness import (
    DECIDE_S,
    FALSE_ALARM,
    LEAST_SHARE_LATE,
    MAX_LONGER_S,
    MIN_ARRIVALS,
    SUSPECT_S,
    LateRun,
)

BLOCK_S = 0.1
LATE = SUSPECT_S * 2.5


def judged(
    late_s: list[float],
    *,
    flags: str = "",
    block_s: float = BLOCK_S,
    longer_s: float = 0,
    most: int = 10,
) -> str:
    """Judge arrivals: "?" waits, "." clears one, "L(ms)" is a loss, "S(ms)" a slower way.

    `flags`: "!" is an overflow.
    """
    run, said = LateRun(), ""
    for nth, late in enumerate(late_s):
        arrived_ns = round((nth * block_s + late) * 1e9)
        overflow = flags[nth : nth + 1] == "!"
        judgement = run.judge(
            late, arrived_ns, usual_s=0, longer_s=longer_s, overflow=overflow, most=most
        )
        if judgement.lost_s or judgement.slower_s:
            letter = "L" if judgement.lost_s else "S"
            return said + f"{letter}({(judgement.lost_s or judgement.slower_s) * 1000:.0f})"
        said += "." * judgement.cleared if judgement.cleared else "?"
    return said


def test_punctual_arrivals_are_on_time():
    assert judged([0.0, 0.0005, SUSPECT_S, 0.0]) == "...."


def test_a_loss_shows_as_the_same_lateness_from_then_on():
    decided = 1 + round(DECIDE_S / BLOCK_S)
    late = [0.0] * 3 + [LATE] * 12
    assert judged(late, flags="...!") == "..." + "?" * (decided - 1) + "L(10)"


def test_without_an_overflow_it_is_a_longer_way_unless_it_is_very_long():
    decided = 1 + round(DECIDE_S / BLOCK_S)
    assert judged([LATE] * 12) == "?" * (decided - 1) + "S(10)"
    assert judged([MAX_LONGER_S + 0.001] * 12) == "?" * (decided - 1) + "L(251)"


@pytest.mark.parametrize(
    ("longer_s", "told"), [(MAX_LONGER_S - 0.011, "S"), (MAX_LONGER_S - 0.009, "L"), (-1, "S")]
)
def test_a_way_that_is_longer_already_can_become_so_much_less_longer(longer_s, told):
    assert f"{told}(10)" in judged([0.01] * 12, longer_s=longer_s)


def test_a_way_that_has_become_shorter_can_become_no_longer_for_that():
    assert "L(251)" in judged([MAX_LONGER_S + 0.001] * 12, longer_s=-1)


def test_the_length_of_a_loss_is_the_least_lateness_seen():
    late = [LATE + jitter for jitter in (0.001, 0.001, 0.002, 0.004, 0, 0.001, 0.001, 0.002, 0.001)]
    assert judged(late, flags="!").endswith("L(10)")


def test_the_usual_lateness_is_not_taken_for_lost_frames():
    """The least of n latenesses with a mean of `usual_s` has a mean of a nth of it."""
    run, number, usual_s = LateRun(), 1 + round(DECIDE_S / BLOCK_S), SUSPECT_S / 2
    for nth in range(number):
        at_ns = round(nth * BLOCK_S * 1e9)
        judgement = run.judge(LATE, at_ns, usual_s=usual_s, longer_s=0, overflow=nth == 0, most=10)
    assert judgement.lost_s == pytest.approx(LATE - usual_s / number)


def test_a_burst_that_catches_up_is_no_loss():
    stalled = [0.8 - nth * BLOCK_S for nth in range(8)]  # all arrive together
    assert judged([0.0, *stalled, 0.0, 0.0]) == "." + "?" * 8 + "." * 9 + "."


def test_catching_up_slowly_is_no_loss():
    slowly = [0.8 - nth * 0.02 for nth in range(40)]
    assert "L" not in judged(slowly)


def test_jitter_just_before_a_loss_is_not_part_of_it():
    """A late block, and then 30 ms are lost: one loss of 30 ms, decided as soon as ever."""
    decided = 1 + round(DECIDE_S / BLOCK_S)
    said = judged([0.005] + [0.030] * 12, flags=".!")
    assert said == "?" * (decided - 1) + "." + "L(30)"


def test_few_late_blocks_do_not_tell_however_long_they_are():
    enough = math.ceil(math.log(FALSE_ALARM) / math.log(LEAST_SHARE_LATE))
    assert judged([0.5] * (enough - 1), block_s=0.5) == "?" * (enough - 1)
    assert "L" in judged([0.5] * (enough + 1), block_s=0.5)


def test_where_so_many_late_ones_are_nothing_unusual_none_is_waited_for():
    enough = math.ceil(math.log(FALSE_ALARM) / math.log(LEAST_SHARE_LATE))
    assert judged([LATE] * 12, most=enough - 1) == "." * 12
    assert judged([LATE] * 2, most=enough) == "??"
    assert judged([0.0, LATE, LATE], flags=".!", most=enough - 1) == ".??"


def test_late_ones_are_let_go_when_they_turn_out_to_be_nothing_unusual():
    run = LateRun()

    def judge(late_s, nth, most):
        return run.judge(
            late_s, round(nth * 1e9), usual_s=0, longer_s=0, overflow=False, most=most
        ).cleared

    assert (judge(LATE, 0, 10), judge(LATE, 0.1, 10), judge(LATE, 0.2, 1)) == (0, 0, 3)


def test_even_a_flagged_loss_needs_more_than_a_late_burst():
    assert "L" not in judged([0.5] * (MIN_ARRIVALS - 1), block_s=0.5, flags="!")
    assert "L" in judged([0.5] * MIN_ARRIVALS, block_s=0.5, flags="!")


def test_on_a_machine_that_is_often_late_more_arrivals_are_needed():
    losses = {}
    for name, period in (("quiet", 2_000), ("busy", 2)):
        run = LateRun()
        for nth in range(2_000):
            late = 0.0 if (nth + 1) % period else LATE
            run.judge(
                late, round(nth * BLOCK_S * 1e9), usual_s=0, longer_s=0, overflow=False, most=10
            )
        run.judge(0.0, round(3_000 * BLOCK_S * 1e9), usual_s=0, longer_s=0, overflow=False, most=10)
        arrivals = [round((1e6 + nth * BLOCK_S) * 1e9) for nth in range(12)]
        judgements = [
            run.judge(0.5, at_ns, usual_s=0, longer_s=0, overflow=False, most=10)
            for at_ns in arrivals
        ]
        losses[name] = any(judgement.lost_s for judgement in judgements)
    assert losses == {"quiet": True, "busy": False}


@pytest.mark.parametrize(("flags", "found"), [("!", True), ("", False)])
def test_a_driver_that_says_so_is_believed_of_losses_as_small_as_jitter(flags, found):
    assert ("L" in judged([SUSPECT_S / 2] * 12, flags=flags)) is found


def test_what_cannot_be_waited_for_is_dropped_from_the_judgement():
    run = LateRun()
    for nth in range(3):
        run.judge(LATE, round(nth * BLOCK_S * 1e9), usual_s=0, longer_s=0, overflow=False, most=10)
    run.drop()
    assert run.judge(0.0, 10**9, usual_s=0, longer_s=0, overflow=False, most=10).cleared == 3
