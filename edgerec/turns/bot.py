"""When does the bot speak? Its loopback is clean: whenever it is louder than its floor."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgerec.turns.bands import BandMeter, NoiseFloor, Samples

_OVER: Final = np.float32(10 ** (12 / 10))
_LOWEST: Final = np.float32(10 ** (-60 / 10))
"""A loopback that hums at less than -60 dBFS is heard by nobody."""


class LevelDetector:
    """Level over a tracked floor, for a clean track; frame by frame."""

    def __init__(self) -> None:
        self._meter = BandMeter()
        self._floor = NoiseFloor(1, ignore_silence=False)

    def push(self, samples: Samples) -> list[bool]:
        """Take in frames; return for each whether it is speech."""
        powers = self._meter.measure(samples).sum(axis=1, keepdims=True)
        threshold = np.maximum(self._floor.follow(powers) * _OVER, _LOWEST)
        return [bool(loud) for loud in powers[:, 0] > threshold]
