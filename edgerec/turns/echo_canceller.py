"""Estimates the loudspeaker's echo in the microphone and subtracts it.

A partitioned-block frequency-domain Kalman filter: F. Kuech, E. Mabande, G. Enzner, "State-space
architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014. Each
coefficient's step follows from how uncertain it is, relative to how loud everything else is: no
double-talk detector is needed. It relies on both tracks being on one timeline.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import FRAME, Samples

PARTS: Final = 8
"""Length of the filter in blocks of 32 ms: the loudest quarter of a second of a room."""

_KEEP: Final = 0.9998**2
"""Confidence per block that the room is unchanged; halves in two minutes of the bot's speech."""
_NEAR_SMOOTHING: Final = 0.6
"""Smoothing per block of the power of everything else: a user is noticed within 50 ms."""
_FIRST_VARIANCE: Final = 1.0  # of a coefficient: an echo as loud as the bot
_PART_DECAY: Final = 0.6  # of that, from part to part: a room of 0.4 s
_TINY: Final = np.float32(1e-6)

_Spectra = NDArray[np.complex64]


class EchoCanceller:
    """The echo's path, tracked from block to block."""

    def __init__(self) -> None:
        bins = FRAME + 1
        decay = (_PART_DECAY ** np.arange(PARTS, dtype=np.float32))[:, np.newaxis]
        self._path: _Spectra = np.zeros((PARTS, bins), np.complex64)
        self._variance = np.broadcast_to(_FIRST_VARIANCE * decay, (PARTS, bins)).astype(np.float32)
        self._near = np.full(bins, 1e-3, np.float32)
        self.forget_signal()

    def forget_signal(self) -> None:
        """Continue after a pause in which the loudspeaker was silent; the path is kept."""
        self._played: _Spectra = np.zeros((PARTS, FRAME + 1), np.complex64)
        self._last = np.zeros(FRAME, np.float32)

    def cancel(self, played: Samples, heard: Samples) -> Samples:
        """Return the echo in one frame of `heard`, and learn from it.

        Parameters
        ----------
        played
            The same frame of the loudspeaker's signal, already late by about the echo's delay.
        """
        self._played[1:] = self._played[:-1].copy()
        self._played[0] = np.fft.rfft(np.concatenate([self._last, played]))
        self._last = played
        echo = np.fft.irfft((self._path * self._played).sum(axis=0))[FRAME:].astype(np.float32)
        self._learn(heard - echo)
        return echo

    def _learn(self, rest: Samples) -> None:
        played = self._played
        error = np.fft.rfft(np.concatenate([np.zeros(FRAME, np.float32), rest]))
        loud = played.real**2 + played.imag**2
        power = (error.real**2 + error.imag**2).astype(np.float32)
        self._near += (1 - _NEAR_SMOOTHING) * (power - self._near)
        # Half: the blocks of an overlap-save filter overlap by half.
        uncertain = 0.5 * (self._variance * loud).sum(axis=0) + self._near + _TINY
        gain = self._variance / uncertain
        step = np.fft.irfft(gain * played.conj() * error.astype(np.complex64), axis=1)
        step[:, FRAME:] = 0  # or the filter would be one of circular convolution
        self._path += np.fft.rfft(step, axis=1).astype(np.complex64)
        strength = self._path.real**2 + self._path.imag**2
        self._variance = (
            _KEEP * (1 - 0.5 * gain * loud) * self._variance + (1 - _KEEP) * strength + 1e-12
        ).astype(np.float32)
