"""Speech probability of each frame from its spectrum and how that changed within a second.

Five measures of every frame, their means and spreads over 0.2 s and 1 s, and a small network over
them (19 - 16 - 1, tanh), computed with numpy alone. Its weights are in `spectral.npz`, made by
`scripts/train-spectral`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import FRAME, RATE_HZ, Samples
from edgerec.turns.presence import LOUD_DB
from edgerec.turns.user import Thresholds

WEIGHTS: Final = "spectral.npz"

_SIZE: Final = 4 * FRAME  # of the transform; padded, so that the correlation is not circular
_LOWEST: Final = round(100 / RATE_HZ * _SIZE)  # bins
_LOW: Final = round(1_000 / RATE_HZ * _SIZE)  # most of a voice is below it, most of an impact above
_GROUPED: Final = (
    320  # bins, in groups of 4: up to 2600 Hz, which every microphone and resampler has
)
_PITCH: Final = slice(RATE_HZ // 400, RATE_HZ // 70)  # lags of 70 to 400 Hz
_APART: Final = 3  # frames, 0.1 s: a note sounds the same again, a vowel does not
_SHORT: Final = 7
_LONG: Final = 31
_FAINTEST_DB: Final = -30.0
_QUIET_WORTH: Final = (
    0.35  # of its probability, of a frame that is not loud: speech never begins there
)

Features = NDArray[np.float32]
"""The network's inputs, float32 of shape (frames, 19)."""

_WINDOW: Final = np.hanning(2 * FRAME).astype(np.float32)


def _own_correlation() -> NDArray[np.float32]:
    power = np.abs(np.fft.rfft(_WINDOW, _SIZE)) ** 2
    own = np.fft.irfft(power)[: _PITCH.stop]
    scaled: NDArray[np.float32] = (own / own[0]).astype(np.float32)
    return scaled


_OWN: Final = _own_correlation()


class SpectralFeatures:
    """Computes the network's input features of each frame."""

    def __init__(self) -> None:
        self._last = np.zeros(FRAME, np.float32)
        self._shapes = np.zeros((_APART, _GROUPED // 4), np.float32)
        self._measures = np.zeros((_LONG, 5))

    def measure(self, frames: Samples, excess_db: NDArray[np.float32]) -> Features:
        """Return the features of consecutive frames, shape (frames, `FRAME`)."""
        joined = np.concatenate([self._last[np.newaxis], frames])
        self._last = frames[-1]
        windows = np.concatenate([joined[:-1], joined[1:]], axis=1) * _WINDOW
        spectra = np.fft.rfft(windows, _SIZE, axis=1)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        power[:, :_LOWEST] = power[:, _LOWEST + _GROUPED :] = 0
        whole = power.sum(axis=1) + 1e-9
        measures = np.stack(
            [
                excess_db,
                np.maximum(10 * np.log10(whole), _FAINTEST_DB),
                power[:, :_LOW].sum(axis=1) / whole,
                _voicing(power),
                self._sameness(power),
            ],
            axis=1,
        )
        history = np.concatenate([self._measures, measures])
        self._measures = history[-_LONG:]
        means, spreads = zip(
            *(_moments(history, n, len(frames)) for n in (_SHORT, _LONG)), strict=True
        )
        # The level's mean is not a feature: how loud a voice is says nothing.
        moving = [part for mean in means for part in np.delete(mean, 1, axis=1).T]
        return np.stack(
            [measures[:, 0], *moving, *(part for spread in spreads for part in spread.T)], axis=1
        ).astype(np.float32)

    def _sameness(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how much the spectrum's shape is that of `_APART` frames before, up to 1."""
        grouped = power[:, _LOWEST : _LOWEST + _GROUPED].reshape(len(power), -1, 4)
        shapes = np.log(grouped.mean(axis=2) + 1e-9)
        shapes -= shapes.mean(axis=1, keepdims=True)
        shapes /= np.sqrt((shapes**2).sum(axis=1, keepdims=True)) + 1e-9
        joined = np.concatenate([self._shapes, shapes])
        self._shapes = joined[-_APART:]
        same: NDArray[np.float32] = (joined[_APART:] * joined[:-_APART]).sum(axis=1)
        return same


def _voicing(power: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the highest autocorrelation at a lag that may be a voice's pitch, up to 1."""
    correlation = np.fft.irfft(power, axis=1)[:, : _PITCH.stop]
    scaled = correlation / (correlation[:, :1] + 1e-12) / _OWN
    highest: NDArray[np.float64] = scaled[:, _PITCH].max(axis=1)
    return highest


def _moments(
    history: NDArray[np.float64], length: int, frames: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread over the last `length`, for each of the last `frames`."""
    windows = np.lib.stride_tricks.sliding_window_view(history, length, axis=0)[-frames:]
    return windows.mean(axis=2), windows.std(axis=2)


class Spectral:
    """A `user.Judge` that needs nothing but numpy."""

    thresholds: Final = Thresholds(on=0.8, off=0.4, likely=0.9)

    def __init__(self) -> None:
        with np.load(str(resources.files(__package__).joinpath(WEIGHTS))) as weights:
            self._layers = tuple(
                weights[name].astype(np.float32)
                for name in ("mean", "spread", "first", "bias", "second", "last")
            )
        self._features = SpectralFeatures()

    def probabilities(self, frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return how likely each of the next frames is speech."""
        mean, spread, first, bias, second, last = self._layers
        scaled = (self._features.measure(frames, excess_db) - mean) / spread
        speech = 1 / (1 + np.exp(-(np.tanh(scaled @ first + bias) @ second + last)))
        worth: list[float] = np.where(excess_db > LOUD_DB, speech, _QUIET_WORTH * speech).tolist()
        return worth
