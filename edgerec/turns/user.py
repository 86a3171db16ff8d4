"""Detects the user's speech in the microphone, in spite of the room and the bot's echo.

microphone, bot -> echo.EchoPath -> EnergyGate -> a classifier: earshot.Earshot, or silero.Silero
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import EchoReport
from edgerec.turns.bands import BANDS, FRAME, FRAME_S, BandMeter, NoiseFloor, Powers, Samples
from edgerec.turns.echo import AUDIBLE, EchoHeard, EchoPath

LOUD_DB: Final = 2.0
"""Excess from which on somebody may be speaking: white noise stays under 1.1 dB for ten minutes.
At 3 dB a tenth of the turns 5 dB over pink noise is lost."""
EXCESS_DB: Final = 15.0
"""Cap of the excess in one band: a whistle is not speech."""

_FLOOR_BIAS: Final = 2.5  # a minimum of smoothed powers lies 4 dB under their mean
_LOWEST: Final = np.float32(10 ** (-85 / 10))  # under any microphone's own noise, per band
_DECAY: Final = np.float32(0.45)  # per frame: a room of 0.5 s, half of it within the filter
_QUANTILE: Final = 0.75  # of the frames in which only the bot speaks, so that it covers most
_STEP_DB: Final = 6.0  # per second; a user who speaks over the bot for 5 s moves it by a few
_NOT_LOCKED_DB: Final = 0.0  # against what is played: louder echo than that is rare
_LOWEST_LEAK_DB: Final = -40.0
_MARGIN: Final = np.float32(10 ** (3 / 10))


class EnergyGate:
    """Measures by how much the microphone exceeds its noise floor and the residual echo.

    Cheap, and so evaluated on every frame, before the classifier.
    """

    def __init__(self) -> None:
        self._rest, self._echo, self._played = BandMeter(), BandMeter(), BandMeter()
        self._floor = NoiseFloor(BANDS, ignore_silence=True)
        self._tail = np.zeros(BANDS, np.float32)
        self._leak_db = np.full(BANDS, _NOT_LOCKED_DB, np.float32)
        self._locked = False

    def excess_db(self, heard: EchoHeard, *, locked: bool) -> NDArray[np.float32]:
        """Return shape (frames,): the mean over bands, each at most `EXCESS_DB`.

        Parameters
        ----------
        locked
            `heard.echo` is an estimate; else only `heard.played` is known.
        """
        rest = self._rest.measure(heard.rest)
        echo, played = self._echo.measure(heard.echo), self._played.measure(heard.played)
        if locked and not self._locked:
            self._leak_db[:] = _NOT_LOCKED_DB
        self._locked = locked
        source = self._smeared(echo if locked else played)
        leak = 10 ** (self._leak_db / 10) * _MARGIN
        floor = np.maximum(self._floor.follow(rest) * _FLOOR_BIAS, _LOWEST)
        excess = 10 * np.log10(rest / (floor + leak * source))
        self._learn(rest, source, floor, played)
        mean: NDArray[np.float32] = np.clip(excess, 0, EXCESS_DB).mean(axis=1)
        return mean

    def _smeared(self, powers: Powers) -> Powers:
        smeared = np.empty_like(powers)
        tail = self._tail
        for index, power in enumerate(powers):
            tail = smeared[index] = np.maximum(power, tail * _DECAY)
        self._tail = tail
        return smeared

    def _learn(self, rest: Powers, source: Powers, floor: Powers, played: Powers) -> None:
        """Follow a quantile of rest against source, which few loud frames can't move far."""
        if not self._locked:
            return
        bot = (played.sum(axis=1) > AUDIBLE)[:, np.newaxis] & (source > floor)
        louder = rest > source * 10 ** (self._leak_db / 10)
        step = np.where(louder, _QUANTILE, _QUANTILE - 1) * bot
        self._leak_db += (_STEP_DB * FRAME_S * step.sum(axis=0)).astype(np.float32)
        np.clip(self._leak_db, _LOWEST_LEAK_DB, 0, out=self._leak_db)


LOOKBACK: Final = 8
"""Number of frames a decision waits: speech begins where it became loud, not where it is sure."""

_RECENT: Final = 8  # frames after a loud one in which the classifier counts: below any hangover
_SURE: Final = 5  # frames of probable speech, 160 ms, before it is any: an impact is over by then


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which on a frame is speech; each classifier has its own."""

    on: float
    off: float
    """Probability that continues speech."""
    likely: float
    """Probability that one of the frames that begin speech must reach."""


class SpeechClassifier(Protocol):
    """Tells speech from noise, frame by frame."""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that suit its probabilities."""
        ...

    def probabilities(self, frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return how likely each of the next frames is speech.

        Parameters
        ----------
        frames
            Shape (frames, `FRAME`), without the bot's echo.
        excess_db
            Shape (frames,): by how much each exceeds noise and echo.
        """
        ...


@dataclass(slots=True)
class _Frame:
    """A frame that may still turn out to be speech."""

    loud: bool
    speech: bool


class AnyLoudness:
    """A classifier for which whatever is loud is speech."""

    thresholds: Final = Thresholds(on=1.0, off=1.0, likely=1.0)

    def probabilities(self, _frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return 1 for loud frames, 0 for others."""
        return (float(db > LOUD_DB) for db in excess_db)


class UserDetector:
    """Decides frame by frame, `LOOKBACK` frames late."""

    def __init__(self, classifier: SpeechClassifier) -> None:
        self._classifier = classifier
        self._echo = EchoPath()
        self._gate = EnergyGate()
        self._pending: deque[_Frame] = deque()
        self._quiet = _RECENT
        self._probable = 0  # frames, up to now
        self._likeliest = 0.0  # of these
        self._speaks = False

    @property
    def echo(self) -> EchoReport:
        """The current estimate of the bot's echo in the microphone."""
        return self._echo.report

    def push(self, played: Samples, heard: Samples) -> list[bool]:
        """Take in frames of both tracks; return for as many earlier ones whether it was speech."""
        parts = self._echo.cancel(played, heard)
        excess = self._gate.excess_db(parts, locked=self._echo.locked)
        probabilities = self._classifier.probabilities(parts.rest.reshape(-1, FRAME), excess)
        decided = []
        for db, probability in zip(excess, probabilities, strict=True):
            loud = bool(db > LOUD_DB)
            self._pending.append(_Frame(loud, self._is_speech(probability, loud=loud)))
            if len(self._pending) > LOOKBACK:
                decided.append(self._pending.popleft().speech)
        return decided

    def flush(self) -> list[bool]:
        """Return what is undecided, and forget the signal but not the room."""
        decided = [frame.speech for frame in self._pending]
        self._pending.clear()
        self._probable, self._likeliest, self._speaks = 0, 0.0, False
        self._quiet = _RECENT
        self._echo.skip()
        return decided

    def _is_speech(self, probability: float, *, loud: bool) -> bool:
        self._quiet = 0 if loud else self._quiet + 1
        level = self._classifier.thresholds
        if self._quiet >= _RECENT or probability < (level.off if self._probable else level.on):
            self._probable, self._likeliest, self._speaks = 0, 0.0, False
            return False
        self._probable += 1
        self._likeliest = max(self._likeliest, probability)
        if not self._speaks and self._probable >= _SURE and self._likeliest >= level.likely:
            self._speaks = True
            self._begin_earlier()
        return self._speaks

    def _begin_earlier(self) -> None:
        """Also count the frames that made it certain, and the loud ones right before, as speech."""
        for back, frame in enumerate(reversed(self._pending), start=1):
            if back >= self._probable and not frame.loud:
                return
            frame.speech = True
