"""Classifies blocks that come late or are dated off: jitter, lost frames, or an increased latency.

`LateRun` judges arrivals, `StepRun` dates. One block that is off means nothing: the scheduler was
busy, or a burst is on its way. Something happened only if *every* one of the following while is off
by the same amount.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgerec.sync.dated_clock import AGREE_S, NEEDED

SUSPECT_S: Final = 0.004  # less is jitter, and the ratio absorbs it
FLAGGED_SUSPECT_S: Final = 0.001  # the driver says frames were lost: only their number is open
DECIDE_S: Final = 0.7  # of late arrivals; with a block of 100 ms decided within 0.8 s
MIN_ARRIVALS: Final = 4
LEVEL_S: Final = 0.002  # a loss stays the same within this; a burst that catches up does not
LEVEL_SHARE: Final = 0.1
FALSE_ALARM: Final = 1e-9  # chance that jitter alone looks like a loss: once in years
MAX_LONGER_S: Final = 0.25  # in total; PulseAudio's null sink was seen to step by 90 ms
LIVE_LONGER_S: Final = 0.05  # an application has no sink that grows: it lost what it did not count
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

    That many late ones in a row must not be this machine's usual jitter. Then frames were lost if
    the driver reported an overflow, or if it is more than a sound server's buffers explain.
    Otherwise the latency has increased (PulseAudio's sinks do that when a player connects) and
    nothing is missing.

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


FLAGGED_STEP_S: Final = 0.0015  # the driver says that frames were lost: only their number is open


class _Off(NamedTuple):
    """A date that is off."""

    at_ns: int
    off_s: float


class StepRun:
    """Judges the dates of a stream one after the other; counts the blocks that are undecided.

    A date may be off by a whole lump of a sound server's, and for as long as a server gets no
    processor all of them may be. Dates that stay off by the same amount are a step: frames were
    lost, or the stream stands in the wrong place.
    """

    def __init__(self) -> None:
        self._off: list[_Off] = []  # alike, and nothing else in between
        self._waiting = 0
        self._flagged = False

    def judge(
        self, off_s: float | None, arrived_ns: int, *, misplaced_s: float, overflow: bool
    ) -> Judgement:
        """Judge the next block.

        Parameters
        ----------
        off_s
            How much later than expected its date is; None where it has none.
        misplaced_s
            How much of that is usual.
        overflow
            Whether the driver reports that frames were lost before it.

        Returns
        -------
        `lost_s` is the step; negative where the stream stands too late.
        """
        self._flagged = self._flagged or overflow
        if off_s is None:
            if not self._waiting and not self._flagged:
                return ON_TIME
            self._waiting += 1
            return WAIT
        self._waiting += 1
        if abs(off_s) <= (FLAGGED_STEP_S if self._flagged else misplaced_s):
            return self._decide(0.0)
        self._off = [off for off in self._off if abs(off.off_s - off_s) <= 2 * AGREE_S]
        self._off.append(_Off(arrived_ns, off_s))
        stays_s = (arrived_ns - self._off[0].at_ns) * 1e-9
        if len(self._off) < NEEDED or (stays_s < DECIDE_S and not self._flagged):
            return WAIT
        return self._decide(sorted(off.off_s for off in self._off)[len(self._off) // 2])

    def drop(self) -> None:
        """Forget the oldest undecided block: it could not be waited for any longer."""
        self._waiting = max(self._waiting - 1, 0)
        if not self._waiting:
            self._decide(0.0)

    def _decide(self, step_s: float) -> Judgement:
        decided = Judgement(self._waiting, lost_s=step_s)
        self._off.clear()
        self._waiting = 0
        self._flagged = False
        return decided
