"""What rate a device has in truth, by what it delivers."""

import random
from dataclasses import replace

import pytest

from edgerec.audio import StreamHeader
from edgerec.capture.stream_guard import USUAL_HZ, WINDOWS, Pace, TrueRate
from tests.rigs.fake_child import block

S = 1_000_000_000
BLOCK_S = 0.1


def arrivals(rate, seconds, *, seed=1, jitter_s=0.02, block_s=BLOCK_S):
    """Ends of blocks and when they come, at random up to `jitter_s` late."""
    chance = random.Random(seed)
    frames = round(rate * block_s)
    for end in range(frames, round(rate * seconds), frames):
        yield end, round((end / rate + jitter_s * chance.random()) * S)


def found(said, blocks):
    """When, in seconds, and which rate."""
    pace = Pace(said)
    for end, at_ns in blocks:
        true = pace.observe(end, at_ns)
        if true is not None:
            return at_ns / S, true
    return None


@pytest.mark.parametrize("said", USUAL_HZ)
@pytest.mark.parametrize("true", USUAL_HZ)
def test_any_usual_rate_is_told_from_any_other(said, true):
    blocks = arrivals(true, 20)
    if said == true:
        assert found(said, blocks) is None
        return
    when_s, rate = found(said, blocks)
    assert rate == true
    assert when_s < WINDOWS * (1 + BLOCK_S) + 0.5  # a window is a second, and up to a block more


def test_blocks_that_come_two_at_a_time_are_as_good():
    pairs = list(arrivals(44_100, 20, block_s=0.25))
    together = [(end, pairs[nth | 1][1]) for nth, (end, _) in enumerate(pairs[:-1])]
    assert found(48_000, together)[1] == 44_100
    assert found(44_100, together) is None


def test_an_unusual_rate_that_is_true_is_left_alone():
    assert found(37_800, arrivals(37_800, 20)) is None
    for true in (46_300, 45_000):  # it may lose frames; it has no such rate
        assert found(48_000, arrivals(true, 20)) is None


@pytest.mark.parametrize("late_s", [0.35, -0.35, 1.0])
def test_one_step_is_no_rate(late_s):
    """Of 0.35 s in 4 s, which is the difference of 44.1 and 48 kHz: a loss, or a burst."""
    for at_s in (2.2, 3.5, 4.9, 6.1):
        stepped = (
            (end, at_ns + round(late_s * S) * (end > at_s * 48_000))
            for end, at_ns in arrivals(48_000, 20)
        )
        assert found(48_000, stepped) is None


def test_of_each_second_the_earliest_arrival_counts():
    """Of ten up to 0.1 s late the earliest is as steady as `STEADY`; any other one is not."""
    for seed in range(20):
        assert found(48_000, arrivals(44_100, 20, seed=seed, jitter_s=0.1))[1] == 44_100


def test_what_was_found_of_one_device_is_not_believed_of_another():
    true_rate, mic = TrueRate(), StreamHeader(48_000, 1, "user", "mic", "monotonic_raw")
    true_rate.begin(mic)
    told = [
        true_rate.judge(block(end - 4_410, 4_410, arrived_ns=at_ns))
        for end, at_ns in arrivals(44_100, 8)
    ]
    assert any(told)
    assert true_rate.begin(replace(mic, device="other")).sample_rate == 48_000
    assert true_rate.begin(replace(mic, sample_rate=16_000)).sample_rate == 16_000
    assert true_rate.begin(mic).sample_rate == 44_100


def test_a_busy_machine_is_no_rate():
    for seed in range(50):
        assert found(48_000, arrivals(48_000, 60, seed=seed, jitter_s=0.4)) is None
