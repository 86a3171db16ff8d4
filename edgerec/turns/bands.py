"""Power of each speech band, frame by frame, and its noise floor.

The detectors' grid: `FRAME` samples at `RATE_HZ`, 32 ms.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8_000
"""Sampling rate of the detectors: below 4 kHz silero was as good as at 16 kHz, at less cost."""
FRAME: Final = 256
"""Samples per frame; silero's frame size at 8 kHz."""
FRAME_S: Final = FRAME / RATE_HZ
BANDS: Final = 12

Samples = NDArray[np.float32]
Powers = NDArray[np.float32]
"""Mean power in each band, float32 of shape (frames, BANDS); full scale is 1."""

_LOWEST_HZ: Final = 150.0  # below it is hum, and no small microphone hears speech
_HIGHEST_HZ: Final = 3_800.0
_EMPTY: Final = 1e-12  # -120 dBFS: digital silence, whose logarithm must exist
_HOLE: Final = np.float32(2e-12)


def _weights() -> Powers:
    """Return (bins, BANDS): equal widths on the mel scale (O'Shaughnessy 1987), no overlap."""
    mel = np.linspace(
        1127 * np.log1p(_LOWEST_HZ / 700), 1127 * np.log1p(_HIGHEST_HZ / 700), BANDS + 1
    )
    edges = np.round(700 * np.expm1(mel / 1127) / RATE_HZ * 2 * FRAME).astype(int)
    weights = np.zeros((FRAME + 1, BANDS), np.float32)
    # A Hann window of 2 * FRAME keeps 3/8 of the power; a bin counts twice, for its negative half.
    scale = 2 / (2 * FRAME * 2 * FRAME * 3 / 8)
    for band, (low, high) in enumerate(pairwise(edges)):
        weights[low:high, band] = scale
    return weights


_WINDOW: Final = np.hanning(2 * FRAME).astype(np.float32)
_WEIGHTS: Final = _weights()


class BandMeter:
    """Band powers of consecutive frames, each windowed together with the one before it."""

    def __init__(self) -> None:
        self._last = np.zeros(FRAME, np.float32)

    def measure(self, samples: Samples) -> Powers:
        """Return the powers of `samples`, whose length is a multiple of `FRAME`."""
        joined = np.concatenate([self._last, samples]).reshape(-1, FRAME)
        self._last = joined[-1]
        windows = np.concatenate([joined[:-1], joined[1:]], axis=1) * _WINDOW
        spectra = np.fft.rfft(windows, axis=1)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        return power @ _WEIGHTS + np.float32(_EMPTY)


_WINDOWS: Final = 8
_WINDOW_S: Final = 1.0


class NoiseFloor:
    """A band's noise floor, the power it falls to between words: the minimum over some seconds.

    Minimum statistics (R. Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001), with a
    constant in place of its bias compensation, in `_WINDOWS` windows of `_WINDOW_S`.

    Parameters
    ----------
    ignore_silence
        Digital silence is a hole in the recording, not a quiet room.
    """

    def __init__(self, bands: int, *, ignore_silence: bool) -> None:
        self._silence = _HOLE if ignore_silence else 0.0
        self._minima = np.full((_WINDOWS, bands), np.inf, np.float32)
        self._smooth = np.zeros((2, bands), np.float32)
        self._frames = 0
        self._per_window = round(_WINDOW_S / FRAME_S)

    def follow(self, powers: Powers) -> Powers:
        """Take in the next frames; return the floor after them, shape (bands,)."""
        joined = np.concatenate([self._smooth, powers])
        self._smooth = joined[-2:]
        smooth = (joined[:-2] + joined[1:-1] + joined[2:]) / 3
        # The minimum over three: a frame at the edge of a hole is only partly noise.
        heard = np.minimum(np.minimum(joined[:-2], joined[1:-1]), joined[2:]) > self._silence
        lowest = np.where(heard, smooth, np.inf).min(axis=0)
        if self._frames // self._per_window != (self._frames + len(powers)) // self._per_window:
            self._minima = np.roll(self._minima, 1, axis=0)
            self._minima[0] = lowest
        self._minima[0] = np.minimum(self._minima[0], lowest)
        self._frames += len(powers)
        floor: Powers = self._minima.min(axis=0)
        return np.where(np.isfinite(floor), floor, np.float32(_EMPTY))
