"""Tells a step of a stream's dates from single dates that are off.

A date may be off by a whole lump of a sound server's, and for as long as a server gets no processor
all of them may be. Dates that stay off by the same amount are a step: frames were lost, or the
stream stands in the wrong place.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgerec.sync.dated_clock import AGREE_S, NEEDED
from edgerec.sync.lateness import DECIDE_S, ON_TIME, WAIT, Judgement

FLAGGED_STEP_S: Final = 0.0015  # the driver says that frames were lost: only their number is open


class _Off(NamedTuple):
    """A date that is off."""

    at_ns: int
    off_s: float


class StepRun:
    """Judges the dates of a stream one after the other; counts the blocks that are undecided."""

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
