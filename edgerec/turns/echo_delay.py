"""Delay with which the microphone hears the loudspeaker, from their cross-correlation.

The peak of the generalised cross-correlation with smoothed coherence weights: G. C. Carter,
A. H. Nuttall, P. G. Cable, "The smoothed coherence transform", Proc. IEEE 61(10), 1973. A user who
speaks at the same time has nothing to do with the bot's signal and averages out.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import RATE_HZ, Samples

PIECE: Final = 8_192
"""Number of samples correlated at once: one second."""
LONGEST_S: Final = 0.45
EARLIEST_S: Final = -0.05
"""Largest lead of the echo: a late loopback. It is reported so that `offset_ms` can be set."""

_KEEP: Final = 0.8  # of what was, per second: an answer from the last five
_CLEAR: Final = 8.0  # times the spread of everywhere else: chance reaches 5 in 4000 lags
_BAND_HZ: Final = (200.0, 3_500.0)


class EchoDelay:
    """Tracks the delay from second to second of the bot's speech."""

    def __init__(self) -> None:
        bins = PIECE // 2 + 1
        self._cross: NDArray[np.complex64] = np.zeros(bins, np.complex64)
        self._played = np.zeros(bins, np.float32)
        self._heard = np.zeros(bins, np.float32)
        hz = np.fft.rfftfreq(PIECE, 1 / RATE_HZ)
        self._in_band = (hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])

    def follow(self, played: Samples, heard: Samples) -> int | None:
        """Take in one `PIECE` of both tracks; return the delay in samples, None while unclear."""
        spectrum, echo = np.fft.rfft(played), np.fft.rfft(heard)
        self._cross = (_KEEP * self._cross + echo * spectrum.conj()).astype(np.complex64)
        self._played = (_KEEP * self._played + np.abs(spectrum) ** 2).astype(np.float32)
        self._heard = (_KEEP * self._heard + np.abs(echo) ** 2).astype(np.float32)
        weight = np.sqrt(self._played * self._heard) + np.float32(1e-9)
        found = np.fft.irfft(np.where(self._in_band, self._cross / weight, 0))
        late, early = round(LONGEST_S * RATE_HZ), round(-EARLIEST_S * RATE_HZ)
        lags = np.abs(np.concatenate([found[-early:], found[:late]]))
        peak = int(lags.argmax())
        spread = float(np.sqrt(np.mean(found**2)))
        if lags[peak] <= _CLEAR * spread:  # both are 0 of a microphone that is muted
            return None
        return peak - early
