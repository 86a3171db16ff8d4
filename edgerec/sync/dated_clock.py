"""The line from one stream's device frames to CLOCK_MONOTONIC_RAW, by dates.

A sound server dates frames (`audio.Block.adc_ns`) with an error to both sides, mostly 0.1 ms, and
sometimes a whole lump. So the place of the line is the median of the last few dates, which follows
at once, and its slope, the device's drift, is learnt slowly: the median of all slopes between
groups of dates (Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 1968),
weighed against what crystals usually are. Until three dates have come, the line rests on arrivals;
see `device_clock`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

from edgerec.audio import DeviceFrame
from edgerec.sync.device_clock import MAX_DRIFT_PPM, DeviceClock

NEEDED: Final = 3  # dates that agree, and more than half of all
AGREE_S: Final = 0.001  # those that are no outliers; a short lump is 5 ms
RECENT: Final = 7  # dates whose median is the line's position
KEPT: Final = 30  # dates by which they scatter: seven in a row may lie close together by chance
PATIENCE_S: Final = 3.0  # how long to wait for enough dates; after that arrivals must do

GROUP_S: Final = 4.0  # of dates, each a median
GROUPS: Final = 30  # two minutes: longer and a warming crystal bends away from any straight line
LEAST_GROUPS: Final = 4
USUAL_DRIFT_PPM: Final = 60.0  # of crystals, one standard deviation
PRIOR_ERROR_PPM: Final = 5.0  # of a remembered drift, after a cold night
KNOWN_PPM: Final = 3.0  # error of a drift that is worth remembering
MAD_TO_SIGMA: Final = 1.4826  # of a normal distribution
LEAST_SCATTER_S: Final = 50e-6  # of groups

SCATTER_SHARE: Final = 3.0  # times the scatter of the nearest 70 % of the recent dates
NEAREST_SHARE: Final = 0.7
UNDATED_ERROR_S: Final = 0.75  # one lump of a sound server's, and a period

MISPLACED_S: Final = 0.0045
"""Least error at which a run is placed again; bending it back by 1 ms a second would take 5 s."""
MOST_MISPLACED_S: Final = 0.020
"""Error at which a run is always placed again, however much dates scatter."""


class _Date(NamedTuple):
    """One date, in seconds relative to the first one."""

    counted_s: float
    """Seconds by the device's frame count at its nominal rate."""
    excess_s: float
    """Seconds that passed on our clock, minus `counted_s`."""
    error_s: float
    """Largest error of the date, as the server's readings allow it."""


@dataclass(frozen=True, slots=True)
class _Slope:
    """Estimate of a rate, as excess seconds per counted second."""

    value: float
    error: float
    """Standard deviation of the rate."""


class DatedClock:
    """The clock of a stream whose blocks are dated.

    Parameters
    ----------
    sample_rate
        The device's nominal rate in Hz.
    prior_ppm
        Drift remembered from an earlier run of the same device.
    """

    hold_s: Final = PATIENCE_S + 0.5
    """Audio held back until the line is known: the patience, and what comes in one lump."""

    def __init__(self, sample_rate: int, prior_ppm: float | None = None) -> None:
        self._rate = sample_rate
        self._undated = DeviceClock(sample_rate, prior_ppm)
        prior_error_ppm = USUAL_DRIFT_PPM if prior_ppm is None else PRIOR_ERROR_PPM
        self._prior = _Slope(-(prior_ppm or 0.0) * 1e-6, prior_error_ppm * 1e-6)
        self._slope = self._prior
        self._level_s = 0.0
        self._origin: tuple[int, int] | None = None  # (frame, instant) of the first date
        self._recent: deque[_Date] = deque(maxlen=KEPT)
        self.is_dated = False
        """Whether the line rests on dates: enough agree, or no more are waited for."""
        self._agreed = False
        self._end_s = 0.0  # counted, of the newest block
        self._group: list[_Date] = []
        self._groups: deque[_Date] = deque(maxlen=GROUPS)
        self._stated_s = 0.0  # error of the dates that the line rests on
        self._spread_s = 0.0  # of the dates kept, about the line; asked for with every block

    @property
    def settled(self) -> bool:
        """Whether frames can be placed: by dates, or after some patience without."""
        return self.is_dated or self._undated.known_s >= PATIENCE_S

    @property
    def known_s(self) -> float:
        """Seconds of dates that the estimate uses; at most the age of the stream."""
        return self._recent[-1].counted_s if self.is_dated else self._undated.known_s

    @property
    def drift_ppm(self) -> float:
        """Rate error of the device; positive is fast."""
        return (1.0 / (1.0 + self._slope.value) - 1.0) * 1e6

    @property
    def drift_known(self) -> bool:
        """Whether the drift is worth remembering."""
        return self._slope.error <= KNOWN_PPM * 1e-6

    @property
    def error_s(self) -> float:
        """Bound on the line's error at present.

        The sum of the stated error (the greater of the last date's and the median of those that
        the line is a median of), three times the distance within which the nearest 70 % of the
        recent dates lie, and the drift error accumulated since the last date.
        """
        if not self.is_dated:
            return self._undated.error_s + UNDATED_ERROR_S
        doubt_s = 0.0 if self._agreed else UNDATED_ERROR_S
        aged_s = max(self._end_s - self._recent[-1].counted_s, 0.0) * self._slope.error
        return self._stated_s + SCATTER_SHARE * (self._spread_s + aged_s) + doubt_s

    @property
    def misplaced_s(self) -> float:
        """Error from which on a run is placed again: more than the scatter of the dates."""
        return min(max(MISPLACED_S, self.error_s), MOST_MISPLACED_S)

    def observe_arrival(self, end: DeviceFrame, arrived_ns: int) -> None:
        """Take in that the frames before `end` had arrived; it says little once there are dates."""
        if self._origin is not None:
            self._end_s = (end - self._origin[0]) / self._rate
        if not self.is_dated:
            self._undated.observe(end, arrived_ns)
            waited = self._undated.known_s >= PATIENCE_S
            self.is_dated = waited and len(self._recent) > 0

    def observe(self, frame: DeviceFrame, instant_ns: int, error_s: float) -> None:
        """Take in that the device began `frame` at `instant_ns`, give or take `error_s`."""
        if self._origin is None:
            self._origin = (frame, instant_ns)
        date = self._date(frame, instant_ns, error_s)
        self._recent.append(date)
        if self._group and date.counted_s - self._group[0].counted_s >= GROUP_S:
            self._close_group()
        self._group.append(date)
        newest = list(self._recent)[-RECENT:]
        levels = sorted(d.excess_s - self._slope.value * d.counted_s for d in newest)
        self._level_s = median(levels)
        # A median of dates is off by no more than the median of their errors.
        self._stated_s = max(error_s, median(date.error_s for date in newest))
        off = sorted(abs(self._off_s(one)) for one in self._recent)
        self._spread_s = off[round(NEAREST_SHARE * (len(off) - 1))]
        self._agreed = self._agreed or len(levels) == RECENT or agree(levels)
        self.is_dated = self.is_dated or self._agreed

    def off_s(self, frame: DeviceFrame, instant_ns: int) -> float:
        """Return how many seconds later `frame` began by its date than by the line."""
        return self._off_s(self._date(frame, instant_ns, 0.0)) if self.is_dated else 0.0

    def step(self, later_s: float) -> None:
        """Move the line: all that it rests on was off by this much."""
        self._recent = deque((_later(d, later_s) for d in self._recent), maxlen=KEPT)
        self._groups = deque((_later(d, later_s) for d in self._groups), maxlen=GROUPS)
        self._group = [_later(d, later_s) for d in self._group]
        self._level_s += later_s

    def instant_ns(self, frame: float) -> float:
        """Return the instant on CLOCK_MONOTONIC_RAW at which the device began `frame`."""
        if not self.is_dated:
            return self._undated.instant_ns(frame)
        origin_frame, origin_ns = self._known_origin()
        counted_s = (frame - origin_frame) / self._rate
        return origin_ns + (counted_s * (1.0 + self._slope.value) + self._level_s) * 1e9

    def frame_at(self, instant_ns: float) -> float:
        """Return the (fractional) device frame that began at an instant."""
        if not self.is_dated:
            return self._undated.frame_at(instant_ns)
        origin_frame, origin_ns = self._known_origin()
        passed_s = (instant_ns - origin_ns) * 1e-9
        return origin_frame + (passed_s - self._level_s) / (1.0 + self._slope.value) * self._rate

    def _known_origin(self) -> tuple[int, int]:
        if self._origin is None:
            raise ValueError("the clock was read before its first date")
        return self._origin

    def _date(self, frame: DeviceFrame, instant_ns: int, error_s: float) -> _Date:
        origin_frame, origin_ns = self._known_origin()
        counted_s = (frame - origin_frame) / self._rate
        return _Date(counted_s, (instant_ns - origin_ns) * 1e-9 - counted_s, error_s)

    def _off_s(self, date: _Date) -> float:
        return date.excess_s - self._slope.value * date.counted_s - self._level_s

    def _close_group(self) -> None:
        self._groups.append(
            _Date(
                median(date.counted_s for date in self._group),
                median(date.excess_s for date in self._group),
                median(date.error_s for date in self._group),
            )
        )
        self._group = []
        if len(self._groups) >= LEAST_GROUPS:
            self._slope = weighed(self._prior, measured_slope(list(self._groups)))


def agree(levels: list[float]) -> bool:
    """Tell whether more than half of what is given in order, three at least, agree."""
    most = max(NEEDED, len(levels) // 2 + 1)
    spans = zip(levels, levels[most - 1 :], strict=False)
    return any(high - low <= AGREE_S for low, high in spans)


def measured_slope(dates: list[_Date]) -> _Slope:
    """Return the median of the slopes between all pairs of dates, and its standard deviation."""
    value = median(
        (b.excess_s - a.excess_s) / (b.counted_s - a.counted_s) for a, b in combinations(dates, 2)
    )
    levels = [date.excess_s - value * date.counted_s for date in dates]
    level_s = median(levels)
    scatter_s = MAD_TO_SIGMA * median(abs(one - level_s) for one in levels)
    middle_s = sum(date.counted_s for date in dates) / len(dates)
    lever_s = math.sqrt(sum((date.counted_s - middle_s) ** 2 for date in dates))
    return _Slope(value, max(scatter_s, LEAST_SCATTER_S) / lever_s)


def weighed(prior: _Slope, measured: _Slope) -> _Slope:
    """Return the mean of two slopes, each with the weight that its error leaves it."""
    share = prior.error**2 / (prior.error**2 + measured.error**2)
    value = prior.value + share * (measured.value - prior.value)
    limit = MAX_DRIFT_PPM * 1e-6
    return _Slope(min(max(value, -limit), limit), math.sqrt(share) * measured.error)


def _later(date: _Date, later_s: float) -> _Date:
    return date._replace(excess_s=date.excess_s + later_s)
