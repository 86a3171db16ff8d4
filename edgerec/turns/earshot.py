"""Earshot's network, corrected by how loud and how tonal each frame is: a `SpeechClassifier`.

Earshot (https://github.com/pykeio/earshot, MIT or Apache-2.0) is at home in speech and noise. In a
quiet room it takes impacts for speech more readily than it takes them in noise, and anywhere it
takes music for it: what stands out far, or sounds the same again, has to be more probable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from earshot import Detector
from numpy.typing import NDArray

from edgerec.turns.bands import FRAME, RATE_HZ, Samples
from edgerec.turns.user import EXCESS_DB, Thresholds

_PIECE: Final = 256  # samples at 16 kHz that the network takes at once: half a frame
_GAIN: Final = 2.0  # 6 dB: faint voices are found sooner, and loud ones may be clipped
_FAR: Final = 0.2  # of probability less for what stands out by `EXCESS_DB`
_TONAL: Final = 0.5  # of probability less for what sounds exactly the same again
_MEAN: Final = 8  # frames, 0.26 s: an impact is over by then

_SIZE: Final = 2 * FRAME  # of the transform: 16 Hz a bin, in which a voice's harmonics stand apart
_APART: Final = 2  # frames, so that no sample is in both spectra
_WIDTH: Final = round(375 / RATE_HZ * _SIZE)  # bins, wider than a formant's slope is steep
_LOWEST: Final = round(400 / RATE_HZ * _SIZE)  # bins: below it a voice's pitch hardly moves them
_HIGHEST: Final = round(3_400 / RATE_HZ * _SIZE)
_FAINTEST: Final = np.float32(1e-6)  # amplitude, whose logarithm must exist
_WINDOW: Final = np.hanning(_SIZE).astype(np.float32)


class Tonality:
    """Are a frame's harmonics where they were 64 ms before? A note's are, a voice's move."""

    def __init__(self) -> None:
        self._last = np.zeros(FRAME, np.float32)
        self._before = np.zeros((_APART, _HIGHEST - _LOWEST), np.float32)

    def measure(self, frames: Samples) -> NDArray[np.float32]:
        """Return 0 to 1 for each of the next frames; 1 is the same harmonics."""
        joined = np.concatenate([self._last[np.newaxis], frames])
        self._last = frames[-1]
        spectra = np.fft.rfft(np.concatenate([joined[:-1], joined[1:]], axis=1) * _WINDOW, axis=1)
        logs = np.log(np.abs(spectra).astype(np.float32) + _FAINTEST)
        sums = np.cumsum(logs, axis=1)
        low, high, half = _LOWEST, _HIGHEST, _WIDTH // 2
        shape = (sums[:, low + half : high + half] - sums[:, low - half : high - half]) / _WIDTH
        fine = logs[:, low:high] - shape
        fine /= np.sqrt((fine**2).sum(axis=1, keepdims=True)) + _FAINTEST
        known = np.concatenate([self._before, fine])
        self._before = known[-_APART:]
        same: NDArray[np.float32] = (known[_APART:] * known[:-_APART]).sum(axis=1)
        return np.maximum(same, 0)


class Earshot:
    """One stream of frames through the network."""

    thresholds: Final = Thresholds(on=0.1, off=0.1, likely=0.55)

    def __init__(self) -> None:
        self._network = Detector()
        self._tonality = Tonality()
        self._recent = np.zeros(_MEAN - 1)

    def probabilities(self, frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return how likely speech is in what was heard of it lately, frame by frame."""
        # Each sample twice is 16 kHz: the network was found to mind its images less than an empty
        # upper band.
        pieces = np.clip(np.repeat(_GAIN * frames, 2), -1, 1).reshape(-1, _PIECE)
        heard = np.array([self._network.predict_f32(piece) for piece in pieces])
        worth = heard.reshape(len(frames), -1).mean(axis=1)
        worth -= _FAR / EXCESS_DB * excess_db + _TONAL * self._tonality.measure(frames)
        known = np.concatenate([self._recent, worth])
        self._recent = known[1 - _MEAN :]
        likely: list[float] = np.convolve(known, np.full(_MEAN, 1 / _MEAN), "valid").tolist()
        return likely
