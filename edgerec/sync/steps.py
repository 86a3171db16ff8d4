"""Tells a step of a stream's dates from single dates that are off.

A date may be off by a whole lump of a sound server's. Three in a row that are off by the same
amount are a step: frames were lost, or the stream stands in the wrong place.
"""

from __future__ import annotations

from typing import Final

from edgerec.sync.dated_clock import AGREE_S, MISPLACED_S, NEEDED
from edgerec.sync.lateness import ON_TIME, WAIT, Judgement

FLAGGED_STEP_S: Final = 0.0015  # the driver says that frames were lost: only their number is open


class StepRun:
    """Judges the dates of a stream one after the other; counts the blocks that are undecided."""

    def __init__(self) -> None:
        self._off: list[float] = []
        self._waiting = 0
        self._flagged = False

    def judge(self, off_s: float | None, *, overflow: bool) -> Judgement:
        """Judge the next block.

        Parameters
        ----------
        off_s
            How much later than expected its date is; None where it has none.
        overflow
            The driver says that frames were lost before it.

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
        if abs(off_s) <= (FLAGGED_STEP_S if self._flagged else MISPLACED_S):
            return self._decide(0.0)
        self._off.append(off_s)
        recent = sorted(self._off[-NEEDED:])
        if len(recent) < NEEDED or recent[-1] - recent[0] > 2 * AGREE_S:
            return WAIT
        return self._decide(recent[NEEDED // 2])

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
