import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import DeviceFrame
from edgerec.sync.device_clock import (
    ESTABLISHED_S,
    LEAST_ERROR_S,
    MAX_DRIFT_PPM,
    MAX_TURN_PPM,
    PRIOR_TOLERANCE_PPM,
    PRIOR_TRUST_S,
    WINDOW_S,
    WINDOWS,
    DeviceClock,
)

RATE = 48_000
BLOCK = 4_800
START_NS = 10**12


def true_ns(frame: float, ppm: float) -> float:
    return START_NS + frame / (RATE * (1 + ppm * 1e-6)) * 1e9


def observe(clock: DeviceClock, ppm: float, late_s: np.ndarray, first: int = 0) -> int:
    """Let blocks arrive, each late by so much; return the frame behind the last."""
    end = first
    for late in late_s:
        end += BLOCK
        clock.observe(DeviceFrame(end), round(true_ns(end, ppm) + late * 1e9))
    return end


def busy(blocks: int, seed: int) -> np.ndarray:
    """A busy machine: 1 ms of exponential lateness, every fiftieth arrival up to 300 ms."""
    rng = np.random.default_rng(seed)
    late = rng.exponential(0.001, blocks)
    spikes = rng.random(blocks) < 0.02
    late[spikes] += rng.uniform(0.02, 0.3, spikes.sum())
    return late


@pytest.mark.parametrize("ppm", [-300.0, -43.0, 0.0, 20.0, 200.0, 300.0])
def test_drift_is_known_within_2_ppm_after_a_minute_on_a_busy_machine(ppm):
    clock = DeviceClock(RATE)
    end = observe(clock, ppm, busy(600, seed=1))
    assert clock.drift_ppm == pytest.approx(ppm, abs=2)
    assert clock.known_s == pytest.approx(60, abs=0.2)
    # An arrival's lateness is what misplaces: the least of a window of twenty is 1 ms / 20.
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, ppm), abs=4 * 1e6 / 20)


def test_punctual_arrivals_are_followed_exactly():
    clock = DeviceClock(RATE)
    end = observe(clock, 87.0, np.zeros(300))
    # Arrivals are whole nanoseconds, over a baseline of half a minute.
    assert clock.drift_ppm == pytest.approx(87.0, abs=1e-3)
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, 87.0), abs=10)
    assert clock.frame_at(clock.instant_ns(end)) == pytest.approx(end, abs=1e-6)
    assert clock.error_s == pytest.approx(LEAST_ERROR_S, abs=1e-8)


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.3), min_size=2, max_size=120), st.floats(-400, 400))
def test_no_recent_arrival_is_ever_before_the_line(late_s, ppm):
    """One-sided: the line lies below all arrivals, so nothing is placed before it was sampled."""
    clock = DeviceClock(RATE)
    end = 0
    for late in late_s:
        end += BLOCK
        arrived_ns = round(true_ns(end, ppm) + late * 1e9)
        clock.observe(DeviceFrame(end), arrived_ns)
        assert clock.lateness_s(DeviceFrame(end), arrived_ns) > -1e-6


def test_one_late_arrival_in_a_window_that_is_filling_does_not_bend_the_line():
    clock = DeviceClock(RATE)
    per_window = round(WINDOW_S * RATE / BLOCK)
    end = observe(clock, 50.0, np.zeros(30 * per_window))
    before = clock.drift_ppm
    end = observe(clock, 50.0, np.array([0.3]), first=end)
    assert clock.drift_ppm == before


def test_a_rate_that_is_known_does_not_jump():
    """Each arrival of the last half minute is 1 ms late: more than a crystal turns in that time."""
    clock, windows = DeviceClock(RATE), 2 * WINDOWS
    per_window = round(WINDOW_S * RATE / BLOCK)
    end, ppm = observe(clock, 50.0, np.zeros(windows * per_window)), []
    for _ in range(WINDOWS):
        end = observe(clock, 50.0, np.full(per_window, 0.001), first=end)
        ppm.append(clock.drift_ppm)
    steps = np.abs(np.diff([50.0, *ppm]))
    assert 0 < steps.max() <= MAX_TURN_PPM * 1.01


def test_arrivals_that_come_earlier_and_earlier_lower_the_line_and_do_not_turn_it():
    clock, windows = DeviceClock(RATE), 2 * WINDOWS
    per_window = round(WINDOW_S * RATE / BLOCK)
    end = observe(clock, 50.0, np.full(windows * per_window, 0.010))
    before = clock.drift_ppm
    end = observe(clock, 50.0, 0.010 - np.arange(1, 7) * 0.0002, first=end)
    assert clock.drift_ppm == before
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, 50.0) + 8.8e6, abs=1e4)


def test_the_sawtooth_of_a_sound_server_is_not_taken_for_drift():
    """As PulseAudio delivers to a player's monitor: later and later for 40 s, then punctual."""
    blocks = np.arange(1_200)
    late_s = (blocks % 400) * BLOCK / RATE * 2_500e-6
    late_s += np.random.default_rng(3).exponential(0.001, len(blocks))
    clock, ppm = DeviceClock(RATE), []
    end = 0
    for late in late_s:
        end = observe(clock, 0.0, np.array([late]), first=end)
        ppm.append(clock.drift_ppm)
    assert np.abs(ppm[100:]).max() < 100
    # Nothing is early here: what moves the line is 1 ms of jitter, not 100 ms of sawtooth.
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, 0.0), abs=2e6)


def test_a_step_of_an_established_line_is_a_shorter_way_and_moves_nothing():
    clock = DeviceClock(RATE)
    end = observe(clock, 0.0, np.full(round(2 * ESTABLISHED_S * RATE / BLOCK), 0.060))
    stated_s = clock.error_s
    end = observe(clock, 0.0, np.zeros(600), first=end)
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, 0.0) + 60e6, abs=1e4)
    assert clock.error_s >= stated_s + 0.060  # which of the two was right nobody knows
    end = observe(clock, 0.0, np.full(600, 0.060), first=end)
    assert clock.drift_ppm == pytest.approx(0, abs=0.01)


def test_an_early_arrival_puts_the_line_right_at_once():
    clock = DeviceClock(RATE)
    end = observe(clock, 0.0, np.full(50, 0.050))
    assert clock.instant_ns(end) == pytest.approx(true_ns(end, 0.0) + 50e6, abs=1e4)
    end = observe(clock, 0.0, np.array([0.0]), first=end)
    assert clock.lateness_s(DeviceFrame(end), round(true_ns(end, 0.0))) == pytest.approx(
        0, abs=1e-9
    )


def test_a_drift_no_crystal_has_is_taken_for_jitter():
    clock = DeviceClock(RATE)
    observe(clock, 0.0, np.linspace(0.1, 0.0, 10))  # getting punctual looks like 100,000 ppm
    assert abs(clock.drift_ppm) < MAX_DRIFT_PPM * 1.01


def test_a_remembered_drift_holds_while_arrivals_cannot_tell():
    noisy = np.random.default_rng(2).exponential(0.002, 20)
    remembering, ignorant = DeviceClock(RATE, prior_ppm=80.0), DeviceClock(RATE)
    assert remembering.drift_ppm == pytest.approx(80.0)
    for clock in (remembering, ignorant):
        observe(clock, 82.0, noisy)
    assert abs(remembering.drift_ppm - 80.0) <= PRIOR_TOLERANCE_PPM * 1.01
    assert abs(ignorant.drift_ppm - 82.0) > PRIOR_TOLERANCE_PPM  # which is what the memory is for


def test_a_wrong_memory_is_given_up_once_arrivals_know_better():
    clock = DeviceClock(RATE, prior_ppm=-150.0)
    observe(clock, 120.0, np.zeros(round(2 * PRIOR_TRUST_S * RATE / BLOCK)))
    assert clock.drift_ppm == pytest.approx(120.0, abs=0.1)


def test_a_clock_that_has_seen_nothing_says_so():
    with pytest.raises(ValueError, match="first arrival"):
        DeviceClock(RATE).instant_ns(0)
