"""The clock of a stream that a sound server dates, on dates as they were recorded of servers."""

import random

import pytest

from edgerec.audio import DeviceFrame
from edgerec.sync.dated_clock import (
    AGREE_S,
    MISPLACED_S,
    MOST_MISPLACED_S,
    NEEDED,
    PATIENCE_S,
    RECENT,
    SCATTER_SHARE,
    DatedClock,
    agree,
)

RATE = 48_000
S = 1_000_000_000
STATED_S = 0.001
LUMP_S = 0.25


class Dates:
    """A device of known drift whose server dates a frame every second, more often at first."""

    def __init__(self, *, drift_ppm=0.0, scatter_s=0.0002, outliers=0.0, seed=1):
        self._rate = RATE * (1 + drift_ppm * 1e-6)
        self._random = random.Random(seed)
        self._scatter_s, self._outliers = scatter_s, outliers
        self.at_s = 0.0

    def instant_ns(self, frame):
        return 5 * S + frame / self._rate * S

    def next(self):
        """Return a frame and when the server says it was captured."""
        self.at_s += 0.1 if self.at_s < 0.5 else 1.0
        frame = DeviceFrame(round(self.at_s * self._rate))
        off_s = self._random.gauss(0, self._scatter_s)
        if self._random.random() < self._outliers:
            off_s += self._random.choice([-LUMP_S, LUMP_S])
        return frame, round(self.instant_ns(frame) + off_s * S)


def follow(clock, dates, seconds):
    """Have a clock follow dates; return its errors in s, each with the bound it states."""
    errors = []
    while dates.at_s < seconds:
        frame, instant_ns = dates.next()
        clock.observe(frame, instant_ns, STATED_S)
        if clock.is_dated:
            off_s = (clock.instant_ns(frame) - dates.instant_ns(frame)) * 1e-9
            errors.append((dates.at_s, off_s, clock.error_s))
    return errors


def test_the_place_is_known_after_three_dates_that_agree():
    clock, dates = DatedClock(RATE), Dates()
    for _ in range(NEEDED):
        assert not clock.settled
        frame, instant_ns = dates.next()
        clock.observe(frame, instant_ns, STATED_S)
    assert clock.settled
    # The median of three errors with a deviation of 0.2 ms each; five of them is 1 in a million.
    assert abs(clock.instant_ns(frame) - dates.instant_ns(frame)) < 5 * 0.0002 * S


@pytest.mark.parametrize("seed", range(20))
def test_single_dates_that_are_off_by_a_lump_move_nothing(seed):
    clock, dates = DatedClock(RATE), Dates(outliers=0.05, seed=seed)
    for _, off_s, stated_s in follow(clock, dates, 120.0):
        assert abs(off_s) < AGREE_S
        assert abs(off_s) <= stated_s


@pytest.mark.parametrize("drift_ppm", [-150.0, -20.0, 0.0, 87.0, 150.0])
def test_a_drift_is_learnt_from_dates_that_scatter_by_a_millisecond(drift_ppm):
    # A pipe source's: 1.2 ms. Over two minutes the slope's own error is 4 ppm; 2.5 of them is 10.
    clock, dates = DatedClock(RATE), Dates(drift_ppm=drift_ppm, scatter_s=0.0012)
    errors = follow(clock, dates, 180.0)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=10.0)
    assert max(abs(off_s) for at_s, off_s, _ in errors if at_s > 120) < 0.004
    assert all(abs(off_s) <= stated_s for _, off_s, stated_s in errors)


def test_a_quiet_servers_drift_is_worth_remembering_after_two_minutes_and_a_scattered_one_is_not():
    for scatter_s, known in ((0.0001, True), (0.005, False)):
        clock = DatedClock(RATE)
        follow(clock, Dates(drift_ppm=40.0, scatter_s=scatter_s), 125.0)
        assert clock.drift_known is known


def test_a_remembered_drift_holds_until_dates_know_better():
    clock = DatedClock(RATE, prior_ppm=87.0)
    follow(clock, Dates(drift_ppm=87.0, scatter_s=0.0012), 20.0)
    assert clock.drift_ppm == pytest.approx(87.0, abs=5.0)


def test_a_step_moves_the_line_at_once_and_is_no_drift():
    clock, dates = DatedClock(RATE), Dates(drift_ppm=40.0)
    follow(clock, dates, 60.0)
    frame, _ = dates.next()
    before_ns, drift_ppm = clock.instant_ns(frame), clock.drift_ppm
    clock.step(-0.1)
    assert clock.instant_ns(frame) - before_ns == pytest.approx(-0.1 * S, abs=1e3)
    assert clock.drift_ppm == drift_ppm


def test_without_dates_arrivals_have_to_do_and_the_stated_error_says_so():
    clock = DatedClock(RATE)
    for block in range(1, 40):
        end = DeviceFrame(block * RATE // 10)
        clock.observe_arrival(end, 5 * S + block * S // 10)
        assert clock.settled == (clock.known_s >= PATIENCE_S)
    assert clock.instant_ns(end) == pytest.approx(5 * S + 39 * S / 10, abs=1e6)
    assert clock.error_s > 2 * LUMP_S


def test_the_place_and_the_frame_are_each_others_inverse():
    clock = DatedClock(RATE)
    follow(clock, Dates(drift_ppm=87.0), 60.0)
    assert clock.frame_at(clock.instant_ns(123_456)) == pytest.approx(123_456, abs=1e-3)


def test_the_stated_error_grows_with_the_scatter():
    stated = []
    for scatter_s in (0.0001, 0.002):
        clock = DatedClock(RATE)
        stated.append(follow(clock, Dates(scatter_s=scatter_s), 60.0)[-1][2])
    assert stated[0] < STATED_S + SCATTER_SHARE * 0.0005
    assert stated[1] > STATED_S + SCATTER_SHARE * 0.0005


@pytest.mark.parametrize(
    ("levels", "is_enough"),
    [
        ([0.0, 0.0], False),  # of two
        ([0.0, 0.0, 0.0], True),
        ([0.0, 0.0, 0.25], False),  # one of three may be off, but which?
        ([-0.25, 0.0, 0.0, 0.0005], True),
        ([-0.25, 0.0, 0.0, 0.0, 0.25, 0.25], False),  # half
        ([0.0, 0.002, 0.004], False),
    ],
)
def test_more_than_half_of_the_dates_have_to_agree(levels, is_enough):
    assert agree(levels) is is_enough
    assert len(levels) <= RECENT


def test_what_dates_scatter_is_not_taken_for_a_wrong_place():
    limits = []
    for scatter_s in (0.0001, 0.003, 0.1):
        clock = DatedClock(RATE)
        follow(clock, Dates(scatter_s=scatter_s), 60.0)
        limits.append(clock.misplaced_s)
    assert limits[0] == MISPLACED_S
    assert MISPLACED_S < limits[1] == clock_error(0.003) < limits[2] == MOST_MISPLACED_S


def clock_error(scatter_s):
    clock = DatedClock(RATE)
    follow(clock, Dates(scatter_s=scatter_s), 60.0)
    return clock.error_s


def test_after_some_patience_dates_that_do_not_agree_are_better_than_arrivals():
    clock = DatedClock(RATE)
    for block in range(1, 2 + round(PATIENCE_S * 10)):
        end = DeviceFrame(block * RATE // 10)
        clock.observe_arrival(end, 5 * S + block * S // 10)
        if block == 1:
            clock.observe(DeviceFrame(0), 5 * S - S // 5, STATED_S)
        assert clock.is_dated == (clock.known_s >= PATIENCE_S or clock.is_dated)
    assert clock.is_dated
    assert clock.instant_ns(0) == pytest.approx(4.8 * S, abs=1e3)
    assert clock.error_s > 2 * LUMP_S


def test_the_stated_error_grows_while_no_date_comes():
    clock = DatedClock(RATE)
    follow(clock, Dates(), 60.0)
    stated = []
    for seconds in (60, 120, 600):
        clock.observe_arrival(DeviceFrame(seconds * RATE), 5 * S + seconds * S)
        stated.append(clock.error_s)
    assert stated == sorted(set(stated))


def test_a_good_date_behind_doubtful_ones_does_not_yet_make_the_line_good():
    """The line is still where those have it, until most of the last ones are good."""
    clock, stated = DatedClock(RATE), []
    for nth in range(2 * RECENT):
        is_good = nth >= RECENT
        at_s = nth * 0.1
        off_s, error_s = (0.0, STATED_S) if is_good else (LUMP_S, 2 * LUMP_S)
        clock.observe(DeviceFrame(round(at_s * RATE)), round((5 + at_s + off_s) * S), error_s)
        if is_good:
            line_off_s = clock.instant_ns(at_s * RATE) * 1e-9 - 5 - at_s
            stated.append((abs(line_off_s), clock.error_s))
    assert all(off_s <= error_s for off_s, error_s in stated)
    assert stated[0][0] == pytest.approx(LUMP_S)
    assert stated[-1][0] == pytest.approx(0.0, abs=1e-6)


def test_a_doubtful_date_is_stated_at_once():
    clock = DatedClock(RATE)
    follow(clock, Dates(), 60.0)
    frame = DeviceFrame(61 * RATE)
    clock.observe(frame, 66 * S, LUMP_S)
    assert clock.error_s >= LUMP_S
