"""Estimate of when a device sampled each frame, and of its true sampling rate, from arrivals.

A block arrives at or after the instant its last frame was sampled: lateness is one-sided. So the
true line of (frame count, instant) is the *lower envelope* of the arrivals, and a busy scheduler
can push arrivals away from it but never across it. The line is the one below all recent arrivals
that is highest near their middle: the edge of their lower convex hull there (Moon, Skelly, Towsley:
Estimation and Removal of Clock Skew from Network Delay Measurements, INFOCOM 1999), taken over
the earliest arrival of each of the last windows. Where even those scatter by milliseconds, as they
do through a sound server, the rate is changed only as far as the arrivals require.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Final, NamedTuple

from edgerec.audio import DeviceFrame

WINDOW_S: Final = 2.0  # one arrival in two seconds is nearly on time even on a busy machine
WINDOWS: Final = 40  # 80 s: longer and a warming crystal bends away from any straight line
FIRST_WINDOW_S: Final = 0.2  # while little is known, a window lasts an eighth of what is known
KNOWN_PER_WINDOW: Final = 8
SUPPORT: Final = 0.6  # of the windows, where the line is highest: 0.5 trails a warming crystal

TRUSTED_SCATTER_S: Final = 200e-6  # a busy machine's; through a sound server it is milliseconds
TRUSTED_WINDOWS: Final = 20
STEADINESS: Final = 3.0  # times the scatter beyond the trusted: a tenth of a second's sawtooth of
# PulseAudio then moves a track by less than 0.5 ms, where it moved it by tens
STEPS: Final = 12  # of a bisection: a thousandth of the change

MEMORY_ARRIVALS: Final = 600  # a minute of 100 ms blocks makes the mean lateness
MAX_USUAL_S: Final = 0.010  # one stall says little of what is usual
SCATTER_SHARE: Final = 3.0  # the line strays by as much as its arrivals scatter, and a bit more
LEAST_ERROR_S: Final = 20e-6  # a crystal that warms by 1 ppm a minute bends as much in 80 s

SETTLE_S: Final = 0.7  # of arrivals, until the offset is known
LIVE_SETTLE_S: Final = 1.5  # through an event loop or a network, which delay most of them
REMEMBER_S: Final = 60.0  # a drift measured for a minute is good to 2 ppm
HOLD_S: Final = 1.0  # audio held back for that: never more, whatever is still undecided
MISPLACED_S: Final = 0.020  # a run that is further off is placed again, and not bent for minutes
ESTABLISHED_S: Final = 10.0  # after this long the earliest arrival is a reliable, undelayed one
EARLY_STEP_S: Final = 0.005  # an established line is never too high by this much

MAX_TURN_PPM: Final = 0.2  # a window; 6 a minute, which takes a hair dryer
WRONG_PPM: Final = 5.0  # a rate that is off by more counts as unknown
MAX_DRIFT_PPM: Final = 350.0  # of the worst crystals
PRIOR_TOLERANCE_PPM: Final = 5.0  # how far a remembered drift may be off after a cold night
PRIOR_TRUST_S: Final = 60.0  # by then the arrivals give a better rate than the remembered drift


class _Arrival(NamedTuple):
    """One arrival, in seconds relative to the first one."""

    counted_s: float
    """Seconds by the device's frame count at its nominal rate."""
    excess_s: float
    """Seconds that passed on our clock, minus `counted_s`."""


class DeviceClock:
    """The line from one stream's device frames to CLOCK_MONOTONIC_RAW.

    Parameters
    ----------
    sample_rate
        The device's nominal rate in Hz.
    prior_ppm
        Drift remembered from an earlier run of the same device.
    settle_s
        Seconds of arrivals until frames are placed by the line.
    """

    misplaced_s: Final = MISPLACED_S

    def __init__(
        self, sample_rate: int, prior_ppm: float | None = None, settle_s: float = SETTLE_S
    ) -> None:
        self._rate = sample_rate
        self._prior_ppm = prior_ppm
        self._settle_s = settle_s
        self.hold_s: Final = settle_s + HOLD_S - SETTLE_S
        """Audio held back until the line is known."""
        self._slope = self._trusted_slope = _slope(prior_ppm or 0.0)
        self._level_s = 0.0  # excess_s of the line at counted_s = 0
        self._origin: tuple[int, int] | None = None  # (frame, instant) of the first arrival
        self._earliest: deque[_Arrival] = deque(maxlen=WINDOWS)
        self._mean = _Arrival(0.0, 0.0)  # of them; kept because it is read far more than updated
        self._window: _Arrival | None = None  # the earliest of the window that is filling
        self._window_end_s = 0.0
        self._latency_s = 0.0  # change of the latency since the stream began
        self._known_s = 0.0
        self._observed = 0
        self.usual_late_s = 0.0
        """Mean lateness of the arrivals, the spikes capped."""

    @property
    def known_s(self) -> float:
        """Seconds of arrivals that the estimate uses; at most the age of the stream."""
        return self._known_s

    @property
    def settled(self) -> bool:
        """Whether enough has been seen to place frames by the line."""
        return self._known_s >= self._settle_s

    @property
    def drift_known(self) -> bool:
        """Whether the drift is worth remembering."""
        return self._known_s >= REMEMBER_S

    @property
    def drift_ppm(self) -> float:
        """Rate error of the device; positive is fast."""
        return (1.0 / (1.0 + self._slope) - 1.0) * 1e6

    @property
    def error_s(self) -> float:
        """Bound on the line's error at present, apart from the device's constant latency.

        With few windows it is the usual lateness of arrivals, later the scatter of each window's
        earliest arrival. Chosen so that it held, every second, over days of simulated jitter of
        every kind; see `docs/synchronisation.md`.
        """
        windows = len(self._earliest)
        mean_s = self._mean.excess_s - self._line_s(self._mean.counted_s) if windows else 0.0
        unknown = 1 - windows / WINDOWS
        astray_s = max(-self._latency_s, 0.0)  # or the line was too high all the while
        return LEAST_ERROR_S + SCATTER_SHARE * mean_s + unknown * self.usual_late_s + astray_s

    @property
    def longer_s(self) -> float:
        """Increase of the device's latency since the stream began, in seconds."""
        return self._latency_s

    def lateness_s(self, end: DeviceFrame, arrived_ns: int) -> float:
        """Return how much later than the line the frames before `end` had arrived."""
        arrival = self._arrival(end, arrived_ns)
        return arrival.excess_s - self._line_s(arrival.counted_s)

    def add_latency(self, slower_s: float) -> None:
        """Take note that the device's latency has grown: nothing is sampled later."""
        self._latency_s += slower_s

    def observe(self, end: DeviceFrame, arrived_ns: int) -> None:
        """Take in that the frames before `end` had arrived at `arrived_ns`."""
        arrival = self._arrival(end, arrived_ns)
        early_s = self._line_s(arrival.counted_s) - arrival.excess_s
        shorter_s = self._shorter_s(early_s)
        if shorter_s > 0:
            self._latency_s -= shorter_s
            arrival = self._arrival(end, arrived_ns)
        self._known_s = arrival.counted_s
        if self._window is not None and arrival.counted_s >= self._window_end_s:
            self._close_window()
        if self._window is None:
            self._open_window(arrival)
        elif arrival.excess_s < self._window.excess_s:
            self._window = arrival
        late_s = arrival.excess_s - self._line_s(arrival.counted_s)
        if late_s < 0:
            # Nothing arrives early: the line was too high, and is put right at once.
            self._fit(arrival)
        self._observed += 1
        share = max(1 / self._observed, 1 / MEMORY_ARRIVALS)
        self.usual_late_s += (min(max(late_s, 0.0), MAX_USUAL_S) - self.usual_late_s) * share

    def instant_ns(self, frame: float) -> float:
        """Return the instant on CLOCK_MONOTONIC_RAW at which the device began `frame`."""
        origin_frame, origin_ns = self._known_origin()
        counted_s = (frame - origin_frame) / self._rate
        return origin_ns + (counted_s + self._line_s(counted_s)) * 1e9

    def frame_at(self, instant_ns: float) -> float:
        """Return the (fractional) device frame that began at an instant."""
        origin_frame, origin_ns = self._known_origin()
        passed_s = (instant_ns - origin_ns) * 1e-9
        return origin_frame + (passed_s - self._level_s) / (1.0 + self._slope) * self._rate

    def _shorter_s(self, early_s: float) -> float:
        """Return how much of an arrival's earliness is a decrease of the latency.

        Any increase found before may be undone, and an established line may step: a player
        disconnects from PulseAudio's sink. Otherwise the line was too high.
        """
        if self._known_s >= ESTABLISHED_S and early_s - self._latency_s > EARLY_STEP_S:
            return early_s
        return max(min(early_s, self._latency_s), 0.0)

    def _arrival(self, end: DeviceFrame, arrived_ns: int) -> _Arrival:
        if self._origin is None:
            self._origin = (end, arrived_ns)
        frame, instant_ns = self._origin
        counted_s = (end - frame) / self._rate
        passed_s = (arrived_ns - instant_ns) * 1e-9 - self._latency_s
        return _Arrival(counted_s, passed_s - counted_s)

    def _known_origin(self) -> tuple[int, int]:
        if self._origin is None:
            raise ValueError("the clock was read before its first arrival")
        return self._origin

    def _line_s(self, counted_s: float) -> float:
        return self._level_s + self._slope * counted_s

    def _open_window(self, arrival: _Arrival) -> None:
        length_s = min(max(arrival.counted_s / KNOWN_PER_WINDOW, FIRST_WINDOW_S), WINDOW_S)
        self._window = arrival
        self._window_end_s = arrival.counted_s + length_s

    def _close_window(self) -> None:
        assert self._window is not None
        self._earliest.append(self._window)
        windows = len(self._earliest)
        self._mean = _Arrival(
            sum(arrival.counted_s for arrival in self._earliest) / windows,
            sum(arrival.excess_s for arrival in self._earliest) / windows,
        )
        self._window = None
        # Once all windows are there only closed ones bend the line: one late arrival alone in a
        # window that is still filling would turn its slope by hundreds of ppm.
        self._fit(None)

    def _fit(self, early: _Arrival | None) -> None:
        """Lay the line below the closed windows' arrivals, and below `early`.

        An early arrival only lowers it, unless so little is known that it also improves the rate.
        """
        points = list(self._earliest)
        if early is not None:
            points.append(early)
        beginning = len(self._earliest) < WINDOWS
        if len(points) > 1 and (early is None or beginning):
            slope = self._least_change(points)
            if not beginning:
                slope = self._unhurried(slope)
            if self._is_drift(slope):
                self._slope = slope
        self._level_s = min(p.excess_s - self._slope * p.counted_s for p in points)

    def _unhurried(self, slope: float) -> float:
        """Keep a rate that is known from jumping a little, as the hull's edges do."""
        change_ppm = (slope - self._slope) * 1e6
        if abs(change_ppm) > WRONG_PPM:
            return slope
        return self._slope + min(max(change_ppm, -MAX_TURN_PPM), MAX_TURN_PPM) * 1e-6

    def _least_change(self, points: list[_Arrival]) -> float:
        """Return the slope nearest to the trusted one whose line lies almost as high as any.

        Almost: within what the windows' earliest arrivals scatter, where they scatter so much that
        a sound server's changing latency may look like drift.
        """
        support_s = _support_s(points)
        best = _slope_of_edge(lower_hull(points), support_s)
        highest_s = _height_s(points, best, support_s)
        scatter_s = sum(
            p.excess_s - highest_s - best * (p.counted_s - support_s) for p in points
        ) / len(points)
        enough_s = highest_s - STEADINESS * max(scatter_s - TRUSTED_SCATTER_S, 0.0)
        if scatter_s <= TRUSTED_SCATTER_S and len(points) >= TRUSTED_WINDOWS:
            if self._is_drift(best):
                self._trusted_slope = best
            return best
        if _height_s(points, self._trusted_slope, support_s) >= enough_s:
            return self._trusted_slope
        high_enough, too_low = best, self._trusted_slope
        for _ in range(STEPS):
            middle = (high_enough + too_low) / 2
            if _height_s(points, middle, support_s) >= enough_s:
                high_enough = middle
            else:
                too_low = middle
        return high_enough

    def _is_drift(self, slope: float) -> bool:
        """Whether a crystal can be like that; else it is jitter, or a latency that changes."""
        middle_ppm, tolerance_ppm = 0.0, MAX_DRIFT_PPM
        if self._prior_ppm is not None and self._known_s < PRIOR_TRUST_S:
            middle_ppm, tolerance_ppm = self._prior_ppm, PRIOR_TOLERANCE_PPM
        return _slope(middle_ppm + tolerance_ppm) <= slope <= _slope(middle_ppm - tolerance_ppm)


def _slope(drift_ppm: float) -> float:
    """Return excess seconds per counted second: a fast device counts more than passes."""
    return 1.0 / (1.0 + drift_ppm * 1e-6) - 1.0


def lower_hull(points: list[_Arrival]) -> list[_Arrival]:
    """Return the lower convex hull of points in order of `counted_s` (Andrew's monotone chain)."""
    hull: list[_Arrival] = []
    for point in points:
        while len(hull) >= 2 and not _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _turns_up(a: _Arrival, b: _Arrival, c: _Arrival) -> bool:
    run_b, rise_b = b.counted_s - a.counted_s, b.excess_s - a.excess_s
    run_c, rise_c = c.counted_s - a.counted_s, c.excess_s - a.excess_s
    return run_b * rise_c > rise_b * run_c


def _support_s(points: list[_Arrival]) -> float:
    first_s, last_s = points[0].counted_s, points[-1].counted_s
    return first_s + SUPPORT * (last_s - first_s)


def _height_s(points: list[_Arrival], slope: float, support_s: float) -> float:
    """Return how high the line of a slope can be at the support, and lie below all points."""
    return min(p.excess_s + slope * (support_s - p.counted_s) for p in points)


def _slope_of_edge(hull: list[_Arrival], support_s: float) -> float:
    """Return the slope of the hull's edge at the support: below it no line can be higher."""
    for left, right in pairwise(hull):
        if right.counted_s >= support_s:
            return (right.excess_s - left.excess_s) / (right.counted_s - left.counted_s)
    raise AssertionError("the support lies outside the hull")
