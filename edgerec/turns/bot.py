"""Detects the bot's speech: its loopback is clean, so whatever exceeds the floor is speech."""

from __future__ import annotations

from typing import Final

import numpy as np

from edgerec.turns.bands import BandMeter, NoiseFloor, Samples

_OVER: Final = np.float32(10 ** (12 / 10))
_LOWEST: Final = np.float32(10 ** (-60 / 10))
"""Level below which a loopback's hum is inaudible."""


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
