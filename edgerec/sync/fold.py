"""Folds a device's channels into one, and notices channels that cancel each other.

A microphone that is wired between two channels (left is minus right) is silence in their mean,
which looks like a quiet room from then on. Here both can still be seen. For one thread.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from edgerec.sync.resampler import Samples

SHARE: Final = 16  # one frame in 16 is measured: next to no cost
REMEMBERED: Final = 12_000  # frames measured, 4 s at 48 kHz: what is older counts for half
AUDIBLE_RMS: Final = 30.0  # -61 dBFS, as the mean of the channels: below, noise says nothing


class Fold:
    """One stream's channels into their mean.

    Parameters
    ----------
    channels
        Number of channels of the stream's interleaved int16 PCM.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._weights = np.full(channels, 1 / channels, dtype=np.float32)
        self._apart = self._folded = self._frames = 0.0

    @property
    def gain_db(self) -> float | None:
        """Level of the mean relative to that of unrelated channels; None: too quiet to measure.

        0 for unrelated channels, `10 log10(channels)` for equal ones, and far below 0 for channels
        that cancel.
        """
        if self.channels == 1 or self._apart <= AUDIBLE_RMS**2 * self._frames:
            return None
        ratio = self.channels * self._folded / self._apart
        return round(10 * math.log10(max(ratio, 1e-6)), 1)

    def write(self, pcm: bytes) -> Samples:
        """Return interleaved int16 PCM as one channel, still at int16 scale."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        if self.channels == 1:
            return samples
        frames = samples.reshape(-1, self.channels)
        folded: Samples = frames @ self._weights
        # Adjacent frames: every sixteenth frame of a tone may fall on its zero crossings.
        measured = len(folded) // SHARE + 1
        self._measure(frames[:measured].ravel(), folded[:measured])
        return folded

    def _measure(self, apart: Samples, folded: Samples) -> None:
        keep = 0.5 ** (len(folded) / REMEMBERED)
        self._frames = keep * self._frames + len(folded)
        self._apart = keep * self._apart + float(apart @ apart) / self.channels
        self._folded = keep * self._folded + float(folded @ folded)
