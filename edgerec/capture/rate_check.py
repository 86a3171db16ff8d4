"""Measures whether a device delivers as many frames a second as it claims.

A device whose clock is set up for another rate delivers 44,100 frames in the time of 48,000, and
nothing else reveals that: its sound would be too high, and drift further every second. Lost frames
do not look like that: the measured rate must be one of the standard rates, steadily.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from edgerec.audio import Block, StreamHeader

USUAL_HZ: Final = (
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
    176_400, 192_000,
)  # fmt: skip
WINDOW_NS: Final = 1_000_000_000
"""Length of a window; its earliest arrival counts, because late ones are due to the scheduler."""
WINDOWS: Final = 5
STEADY: Final = 0.03
"""Tolerance of a rate from one window to the next: 30 ms of jitter. The nearest two usual rates
differ by 8 %; a stall, a burst or a loss does not look like a rate in four windows in a row."""
EXACT: Final = 0.01
"""Tolerance of a rate over all windows."""


class _Arrival(NamedTuple):
    end: int
    at_ns: int
    late_ns: float


class Pace:
    """Measures the rate of one stream, whose header claims `rate` in Hz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._earliest: deque[_Arrival] = deque(maxlen=WINDOWS)
        self._window: _Arrival | None = None
        self._window_end_ns = 0

    def observe(self, end: int, arrived_ns: int) -> int | None:
        """Take in that the frames before `end` had arrived; return the stream's true rate.

        Returns
        -------
        None while there is no evidence against the claimed rate.
        """
        arrival = _Arrival(end, arrived_ns, arrived_ns - end * 1e9 / self._rate)
        if self._window is not None and arrived_ns < self._window_end_ns:
            self._window = min(self._window, arrival, key=lambda one: one.late_ns)
            return None
        if self._window is not None:
            self._earliest.append(self._window)
        self._window = arrival
        self._window_end_ns = arrived_ns + WINDOW_NS
        return self._true_rate()

    def _true_rate(self) -> int | None:
        if len(self._earliest) < WINDOWS:
            return None
        overall = _hz(self._earliest[0], self._earliest[-1])
        usual = min(USUAL_HZ, key=lambda hz: abs(hz - overall))
        if abs(overall / self._rate - 1) < STEADY or abs(overall / usual - 1) > EXACT:
            return None
        steady = all(
            abs(_hz(one, following) / usual - 1) <= STEADY
            for one, following in pairwise(self._earliest)
        )
        return usual if steady else None


def _hz(one: _Arrival, later: _Arrival) -> float:
    passed_ns = later.at_ns - one.at_ns
    return (later.end - one.end) * 1e9 / passed_ns if passed_ns > 0 else 0.0


class TrueRate:
    """The true rate of one track's device: a measured rate holds until another one is measured."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None  # by the last header: device, rate
        self._found: tuple[tuple[str, int], int] | None = None  # what was said, and the truth
        self._pace: Pace | None = None
        self._rate = 0

    def begin(self, header: StreamHeader) -> StreamHeader:
        """Return the header of a stream with the device's true rate."""
        self._said = (header.device, header.sample_rate)
        self._rate = header.sample_rate
        if self._found is not None and self._found[0] == self._said:
            self._rate = self._found[1]
        self._pace = Pace(self._rate)
        return replace(header, sample_rate=self._rate)

    def judge(self, block: Block) -> str | None:
        """Return why the stream can't continue: its frames do not have the rate it began with."""
        if self._said is None or self._pace is None:
            return None
        rate = self._pace.observe(block.first_frame + block.frames, block.arrived_ns)
        if rate is None:
            return None
        self._found = (self._said, rate)
        return f"{self._said[0]} delivers {rate} frames a second instead of {self._rate}"
