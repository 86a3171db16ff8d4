"""The microphone's signal without the loudspeaker's echo, and an estimate of the echo that is left.

Only the detectors use the result: the microphone is recorded unchanged. `EchoDelay` finds how late
the echo is, `EchoCanceller` subtracts it, `EchoPath` is both. It relies on both tracks being on one
timeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import EchoReport
from edgerec.turns.bands import FRAME, FRAME_S, RATE_HZ, Samples

PIECE: Final = 8_192
"""Number of samples correlated at once: one second."""
LONGEST_S: Final = 0.45
EARLIEST_S: Final = -0.05
"""Largest lead of the echo: a late loopback. It is reported so that `offset_ms` can be set."""

_CROSS_KEEP: Final = 0.8  # of what was, per second: an answer from the last five
_CLEAR: Final = 8.0  # times the spread of everywhere else: chance reaches 5 in 4000 lags
_BAND_HZ: Final = (200.0, 3_500.0)


class EchoDelay:
    """Tracks from second to second of the bot's speech how late the microphone hears it.

    The peak of the generalised cross-correlation with smoothed coherence weights: G. C. Carter,
    A. H. Nuttall, P. G. Cable, "The smoothed coherence transform", Proc. IEEE 61(10), 1973. A user
    who speaks at the same time has nothing to do with the bot's signal and averages out.
    """

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
        self._cross = (_CROSS_KEEP * self._cross + echo * spectrum.conj()).astype(np.complex64)
        self._played = (_CROSS_KEEP * self._played + np.abs(spectrum) ** 2).astype(np.float32)
        self._heard = (_CROSS_KEEP * self._heard + np.abs(echo) ** 2).astype(np.float32)
        weight = np.sqrt(self._played * self._heard) + np.float32(1e-9)
        found = np.fft.irfft(np.where(self._in_band, self._cross / weight, 0))
        late, early = round(LONGEST_S * RATE_HZ), round(-EARLIEST_S * RATE_HZ)
        lags = np.abs(np.concatenate([found[-early:], found[:late]]))
        peak = int(lags.argmax())
        spread = float(np.sqrt(np.mean(found**2)))
        if lags[peak] <= _CLEAR * spread:  # both are 0 of a microphone that is muted
            return None
        return peak - early


PARTS: Final = 8
"""Length of the filter in blocks of 32 ms: the loudest quarter of a second of a room."""

_PATH_KEEP: Final = 0.9998**2
"""Confidence per block that the room is unchanged; halves in two minutes of the bot's speech."""
_NEAR_SMOOTHING: Final = 0.6
"""Smoothing per block of the power of everything else: a user is noticed within 50 ms."""
_FIRST_VARIANCE: Final = 1.0  # of a coefficient: an echo as loud as the bot
_PART_DECAY: Final = 0.6  # of that, from part to part: a room of 0.4 s
_TINY: Final = np.float32(1e-6)

_Spectra = NDArray[np.complex64]


class EchoCanceller:
    """The echo's path, tracked from block to block.

    A partitioned-block frequency-domain Kalman filter: F. Kuech, E. Mabande, G. Enzner,
    "State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014.
    Each coefficient's step follows from how uncertain it is, relative to how loud everything else
    is: no double-talk detector is needed.
    """

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
            _PATH_KEEP * (1 - 0.5 * gain * loud) * self._variance
            + (1 - _PATH_KEEP) * strength
            + 1e-12
        ).astype(np.float32)


AUDIBLE: Final = 10 ** (-65 / 10)
"""Mean power of a frame above which a loudspeaker may be heard: -65 dBFS."""
TAIL: Final = PARTS + 4
"""Number of frames after which what was played is no longer heard."""

_LEAD: Final = 64  # samples, 8 ms: the filter begins before the first echo
_SAME: Final = 48  # samples, 6 ms: a delay that has moved by more is a different one
_AGREEING: Final = 2  # seconds of the bot's speech that must agree on a different delay
_REPORT_KEEP: Final = 0.5 ** (FRAME_S / 20)  # the report follows the last 20 s of bot
_KNOWN: Final = 2.0  # a filter that takes away less than half explains no echo


@dataclass(frozen=True, slots=True)
class EchoHeard:
    """The microphone's signal, taken apart; each shape (samples,)."""

    rest: Samples
    echo: Samples
    """The estimated echo; `rest` and `echo` add up to the microphone."""
    played: Samples
    """The loudspeaker's signal, delayed by about the echo's delay."""


class EchoPath:
    """Finds the echo's delay, tracks its path and subtracts it, frame by frame."""

    def __init__(self) -> None:
        self._delay = EchoDelay()
        self._canceller: EchoCanceller | None = None
        self._late = 0  # samples by which the canceller's loudspeaker signal is delayed
        self._found: int | None = None
        self._other = 0
        self._history = np.zeros(round(LONGEST_S * RATE_HZ) + FRAME, np.float32)
        self._piece = np.zeros((2, 0), np.float32)
        self._silent = TAIL
        self._powers = np.zeros(4)

    @property
    def locked(self) -> bool:
        """Whether the delay is known, and a canceller at work."""
        return self._canceller is not None

    @property
    def report(self) -> EchoReport:
        """The current estimate of the echo."""
        played, heard, rest, echo = self._powers
        if self._found is None or self._canceller is None or not played:
            return EchoReport()
        if heard <= _KNOWN * rest:  # both are 0 of a microphone that is muted
            return EchoReport()
        return EchoReport(
            round(self._found / RATE_HZ * 1e3, 1), round(float(10 * np.log10(echo / played)), 1)
        )

    def cancel(self, played: Samples, heard: Samples) -> EchoHeard:
        """Take the next samples of both tracks apart; their length is a multiple of `FRAME`."""
        joined = np.concatenate([self._history, played])
        self._history = joined[-len(self._history) :]
        late = joined[len(self._history) - self._late :][: len(played)]
        echo = np.zeros_like(heard)
        loud = np.mean(late.reshape(-1, FRAME) ** 2, axis=1) > AUDIBLE
        for index, audible in enumerate(loud):
            if audible and self._silent >= TAIL and self._canceller is not None:
                self._canceller.forget_signal()
            self._silent = 0 if audible else self._silent + 1
            if self._canceller is not None and self._silent < TAIL:
                piece = slice(index * FRAME, (index + 1) * FRAME)
                echo[piece] = self._canceller.cancel(late[piece], heard[piece])
                self._account(late[piece], heard[piece], echo[piece])
        self._watch_delay(played, heard)
        return EchoHeard(heard - echo, echo, late)

    def skip(self) -> None:
        """Continue after a hole; what is known of the room is kept."""
        self._history[:] = 0
        self._piece = np.zeros((2, 0), np.float32)
        self._silent = TAIL

    def _account(self, played: Samples, heard: Samples, echo: Samples) -> None:
        rest = heard - echo
        power = [float(s @ s) for s in (played, heard, rest, echo)]
        self._powers = _REPORT_KEEP * self._powers + power

    def _watch_delay(self, played: Samples, heard: Samples) -> None:
        self._piece = np.concatenate([self._piece, np.stack([played, heard])], axis=1)
        if self._piece.shape[1] < PIECE:
            return
        piece, self._piece = self._piece[:, :PIECE], self._piece[:, PIECE:]
        if np.mean(piece[0] ** 2) < AUDIBLE:
            return
        found = self._delay.follow(piece[0], piece[1])
        if found is None:
            return
        if self._found is not None and abs(found - self._found) < _SAME:
            self._other = 0
            return
        self._other += 1
        if self._found is None or self._other >= _AGREEING:
            self._found, self._other = found, 0
            self._late = max(0, found - _LEAD)
            self._canceller = EchoCanceller()
            self._powers[:] = 0
