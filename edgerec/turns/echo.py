"""The microphone's signal without the loudspeaker's echo, and an estimate of the echo that is left.

Only the detectors use the result: the microphone is recorded unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edgerec.audio import EchoReport
from edgerec.turns.bands import FRAME, FRAME_S, RATE_HZ, Samples
from edgerec.turns.echo_canceller import PARTS, EchoCanceller
from edgerec.turns.echo_delay import LONGEST_S, PIECE, EchoDelay

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
