"""Classifies late arrivals as jitter, frames that were lost uncounted, or an increased latency.

Late arrival alone means nothing: the scheduler was busy, or a burst is on its way. Something
happened only if *every* arrival of the following while is late, by the same amount, and if that
many in a row can't be this machine's usual jitter. Then frames were lost if the driver reported
an overflow, or if it is more than a sound server's buffers explain. Otherwise the latency has
increased (PulseAudio's sinks do that when a player connects) and nothing is missing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

SUSPECT_S: Final = 0.004  # less is jitter, and the ratio absorbs it
FLAGGED_SUSPECT_S: Final = 0.001  # the driver says frames were lost: only their number is open
DECIDE_S: Final = 0.7  # of late arrivals; with a block of 100 ms decided within 0.8 s
MIN_ARRIVALS: Final = 4
LEVEL_S: Final = 0.002  # a loss stays the same within this; a burst that catches up does not
LEVEL_SHARE: Final = 0.1
FALSE_ALARM: Final = 1e-9  # chance that jitter alone looks like a loss: once in years
MAX_LONGER_S: Final = 0.25  # in total; PulseAudio's null sink was seen to step by 90 ms
MEMORY_ARRIVALS: Final = 600  # a minute of 100 ms blocks makes the jitter's statistics
LEAST_SHARE_LATE: Final = 0.02  # a quiet minute does not guarantee another


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision that an arrival allows about itself and the late ones before it."""

    cleared: int
    """Number of the oldest undecided arrivals, itself included, that are decided."""
    lost_s: float = 0.0
    """Length of what is missing before the first of them, in seconds."""
    slower_s: float = 0.0
    """Increase of the latency from the first of them on, in seconds; nothing is missing."""


WAIT: Final = Judgement(0)
ON_TIME: Final = Judgement(1)


class _Late(NamedTuple):
    arrived_ns: int
    late_s: float
    overflow: bool


class LateRun:
    """Judges a stream's arrivals, one after the other, and keeps those that are undecided.

    Parameters
    ----------
    max_longer_s
        Largest total increase of the latency; more is a loss, even if no overflow was reported.
    """

    def __init__(self, max_longer_s: float = MAX_LONGER_S) -> None:
        self._max_longer_s = max_longer_s
        self._late: deque[_Late] = deque()
        self._share_late = 0.0

    def judge(
        self,
        late_s: float,
        arrived_ns: int,
        *,
        usual_s: float,
        longer_s: float,
        overflow: bool,
        most: int,
    ) -> Judgement:
        """Judge the next arrival.

        Parameters
        ----------
        late_s
            Its lateness by the device's clock.
        usual_s
            The mean of what is usual.
        longer_s
            Increase of the latency since the stream began.
        overflow
            Whether the driver reports that frames were lost before it.
        most
            Maximum number of arrivals to wait for. Where that many late ones are usual, as with a
            sound server that delivers its blocks in lumps, no decision waits.
        """
        late = late_s > SUSPECT_S
        self._share_late += (late - self._share_late) / MEMORY_ARRIVALS
        flagged = overflow or self._flagged()
        if late_s <= (FLAGGED_SUSPECT_S if flagged else SUSPECT_S):
            return self._cleared(len(self._late) + 1) if self._late else ON_TIME
        if not flagged and self._by_chance(most) > FALSE_ALARM:
            return self._cleared(len(self._late) + 1)
        self._late.append(_Late(arrived_ns, late_s, overflow))
        if self._passed_s() < DECIDE_S:
            return WAIT
        early = self._before_the_step()
        if early:
            return self._cleared(early)
        return self._stayed_late(usual_s, max(longer_s, 0.0)) or WAIT

    def drop(self) -> None:
        """Forget the oldest undecided arrival: it could not be waited for any longer."""
        self._cleared(1)

    def _passed_s(self) -> float:
        return (self._late[-1].arrived_ns - self._late[0].arrived_ns) * 1e-9

    def _halves(self) -> tuple[list[float], list[float]]:
        middle_ns = self._late[0].arrived_ns + DECIDE_S / 2 * 1e9
        first = [late.late_s for late in self._late if late.arrived_ns < middle_ns]
        return first, [late.late_s for late in self._late if late.arrived_ns >= middle_ns]

    def _before_the_step(self) -> int:
        """Return how many of the oldest are mere jitter, that a loss happens to follow on."""
        first, second = self._halves()
        level_s = min(second)
        jitter = [nth for nth, late_s in enumerate(first) if late_s < level_s - LEVEL_S]
        return jitter[-1] + 1 if jitter else 0

    def _flagged(self) -> bool:
        return any(late.overflow for late in self._late)

    def _stayed_late(self, usual_s: float, longer_s: float) -> Judgement | None:
        first, second = self._halves()
        catching_up = min(second) < min(first) - max(LEVEL_S, LEVEL_SHARE * min(first))
        number = len(self._late)
        flagged = self._flagged()
        unusual = flagged or self._by_chance(number) <= FALSE_ALARM
        if catching_up or number < MIN_ARRIVALS or not unusual:
            return None
        # The minimum of n latenesses is biased upward by mean/n (exponential lateness): subtract.
        step_s = min(first + second) - usual_s / number
        self._cleared(number)
        if flagged or longer_s + step_s > self._max_longer_s:
            return Judgement(number, lost_s=step_s)
        return Judgement(number, slower_s=step_s)

    def _by_chance(self, number: int) -> float:
        return max(self._share_late, LEAST_SHARE_LATE) ** number

    def _cleared(self, number: int) -> Judgement:
        for _ in range(min(number, len(self._late))):
            self._late.popleft()
        return Judgement(number)
