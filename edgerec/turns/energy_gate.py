"""A cheap energy gate: by how much each frame exceeds the room's noise and the loudspeaker's echo.

Evaluated on every frame, before the speech classifier.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import BANDS, FRAME_S, BandMeter, NoiseFloor, Powers
from edgerec.turns.echo import AUDIBLE, EchoHeard

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
    """Measures by how much the microphone exceeds its noise floor and the residual echo."""

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
