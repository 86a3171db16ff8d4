"""How well do detected turns agree with those that were spoken?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tests.turns.mixtures import Spoken

NEAR_S = 0.3
"""A turn detected this close to a spoken one is no false turn but a part of it, badly placed."""

Interval = tuple[float, float]


@dataclass
class Score:
    """Counts and errors over all scenes of one condition."""

    spoken: int = 0
    found: int = 0
    false: int = 0
    files: int = 0
    """Turns detected that are no false ones: more than were found where turns are cut up."""
    hours: float = 0.0
    """Of the time that false turns are counted over."""
    start_ms: list[float] = field(default_factory=list)
    end_ms: list[float] = field(default_factory=list)

    def add(self, spoken: tuple[Spoken, ...], found: list[Interval], hours: float) -> None:
        """Add a scene; `found` are the detected turns from first to last speech, in seconds."""
        self.hours += hours
        self.spoken += len(spoken)
        for start, stop in found:
            near = [t for t in spoken if t.start - NEAR_S < stop and start < t.stop + NEAR_S]
            self.false += not near
            self.files += bool(near)
        for turn in spoken:
            parts = [f for f in found if f[0] < turn.stop and turn.start < f[1]]
            covered = sum(min(b, turn.stop) - max(a, turn.start) for a, b in parts)
            if covered > (turn.stop - turn.start) / 2:
                self.found += 1
                self.start_ms.append((parts[0][0] - turn.start) * 1e3)
                self.end_ms.append((parts[-1][1] - turn.stop) * 1e3)

    @property
    def recall(self) -> float:
        """Share of the spoken turns that were found: detected over more than half of them."""
        return self.found / self.spoken if self.spoken else float("nan")

    @property
    def false_per_hour(self) -> float:
        """Turns that nobody spoke, per hour."""
        return self.false / self.hours if self.hours else float("nan")

    def start_p90_ms(self) -> float:
        """90th percentile of how far the start was off, either way."""
        return float(np.percentile(np.abs(self.start_ms), 90)) if self.start_ms else float("nan")

    def end_p90_ms(self) -> float:
        """90th percentile of how far the end of speech was off, either way."""
        return float(np.percentile(np.abs(self.end_ms), 90)) if self.end_ms else float("nan")
