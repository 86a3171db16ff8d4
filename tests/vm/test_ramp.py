"""The signal that tells its time: what it tells must be true, or nothing."""

from array import array
from itertools import pairwise

import pytest

from tests.vm.ramp import CLIMB_PER_S, PERIOD_S, RATE_HZ, misplaced_s, played, ramp
from tests.vm.recording import UNTOLD_S

RECORDED_HZ = 16_000
S = 1_000_000_000
EXACT_S = 1 / CLIMB_PER_S  # a sample is rounded


def recorded():
    """Two periods, as another rate would have them, in one channel."""
    return array("h", ramp())[:: 2 * RATE_HZ // RECORDED_HZ] * 2


@pytest.mark.parametrize("late_s", [-3.0, -0.06, 0.0, 0.06, 3.0])
def test_what_is_misplaced_is_told_by_how_much(late_s):
    run_ns = 50 * S
    told = [
        misplaced_s(run_ns + frame * S // RECORDED_HZ + round(late_s * S), phase_s, [run_ns - 99])
        for frame, phase_s in played(recorded(), RECORDED_HZ)
        if frame / RECORDED_HZ + late_s >= 0
    ]
    assert told
    assert all(abs(one - late_s) <= EXACT_S for one in told)


def test_the_run_that_an_instant_is_in_counts():
    runs_ns = [0, 10 * S, 100 * S]
    assert misplaced_s(12 * S, 2.0, runs_ns) == pytest.approx(0)
    assert misplaced_s(9 * S, 1.0, runs_ns) == pytest.approx(0)


def test_nearly_all_of_it_tells_its_time():
    frames = [frame for frame, _ in played(recorded(), RECORDED_HZ)]
    longest = max(after - before for before, after in pairwise(frames))
    assert longest / RECORDED_HZ <= UNTOLD_S
    assert frames[-1] / RECORDED_HZ > 2 * PERIOD_S - UNTOLD_S


@pytest.mark.parametrize("cut", [1, 700, 7_000])
def test_an_edge_and_silence_tell_nothing(cut):
    samples = recorded()
    samples[20_000 : 20_000 + cut] = array("h", [0]) * cut
    step = RECORDED_HZ // 100
    told = [frame for frame, _ in played(samples, RECORDED_HZ)]
    assert not [frame for frame in told if 20_000 <= frame < 20_000 + cut]
    assert not [frame for frame in told if 20_000 <= frame + step < 20_000 + cut]
