"""The sound in the virtual kiosk's room, as a function of true time.

User and bot take turns, with pauses and occasional interruptions. The loudspeaker's loopback hears
the bot alone; the microphone hears the user, the bot's echo and the room. Sound can be sampled at
any step of true time, so devices whose clocks drift apart sample the same world.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from edgerec.audio import TrackName
from edgerec.simulation.voice import BANK_RATE_HZ, Samples, Speaker, phrases

Sound = Callable[[float, float, int], Samples | None]
"""(first_s, step_s, frames) -> float32 samples, full scale 1, at first_s, first_s + step_s, ...;
None: digital silence, at no cost. Called forwards in time only: the past may be forgotten."""

World = Callable[[TrackName], Sound]
"""Returns what a new listener at a track's device hears, from the world's beginning."""

ECHO_DELAY_S: Final = 0.040
"""Delay from the loudspeaker's loopback to the microphone."""
ECHO_DB: Final = -20.0
"""Energy of the echo, its tail included, relative to the loopback."""
NOISE_DBFS: Final = -65.0
"""RMS level of the room's noise in the microphone."""

_ECHO_TAIL: Final = ((0.0, 1.0), (0.007, -0.35), (0.013, 0.25), (0.019, -0.18), (0.029, 0.10))
"""Reflections: seconds after the direct sound, and level relative to it."""

_VOICES: Final[dict[TrackName, Speaker]] = {
    "user": Speaker(pitch_hz=190.0, tract=1.12),
    "bot": Speaker(pitch_hz=115.0, tract=1.0),
}
_PHRASES: Final = 6  # of each voice: 2 MB, and as much again for the bot's echo
_GREETING_S: Final = 0.3
_TURN_S: Final = (1.0, 4.5)  # and then to the end of the phrase: 6 s at most
_OPENING_TURNS: Final = 2  # of one phrase each, so that both are heard within the first 5 s
_BREATH_S: Final = (0.12, 0.35)  # between phrases: longer than the echo's tail
_PAUSE_S: Final = (0.3, 1.2)  # between turns
_INTERRUPTION_S: Final = (0.2, 0.5)  # two are shorter than the shortest turn: they can't overlap
_INTERRUPTED_SHARE: Final = 0.15  # of the turns

_NOISE_FRAMES: Final = 1 << 18
_NOISE_STRIDE: Final = 40_503  # odd: every block gets another piece, and the floor has no hum


@dataclass(frozen=True, slots=True)
class Phrase:
    """One phrase, and when it is said."""

    speaker: TrackName
    start_s: float
    """Start of the phrase, in seconds of true time since the world began."""
    index: int
    """Index of the phrase among the speaker's."""


def silence(_track: TrackName) -> Sound:
    """Build a world in which nothing sounds, for tests that only count."""
    return lambda _first_s, _step_s, _frames: None


def tone(hz: float, dbfs: float = -6.0) -> World:
    """Build a world in which every device hears the same sine, for tests that measure."""
    level = 10 ** (dbfs / 20)

    def sine(first_s: float, step_s: float, frames: int) -> Samples:
        turns = hz * (first_s + step_s * np.arange(frames))
        samples: Samples = (level * np.sin(2 * np.pi * turns)).astype(np.float32)
        return samples

    return lambda _track: sine


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Draw from a stream of its own for each purpose, so that a new one changes no other."""
    key = tuple(zlib.crc32(word.encode()) for word in purpose)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def conversation(seed: int) -> World:
    """Build the kiosk's own world: the same seed gives the same world."""
    voices = {
        name: phrases(voice, _PHRASES, generator(seed, "voice", name))
        for name, voice in _VOICES.items()
    }
    echoes = tuple(_echo(phrase) for phrase in voices["bot"])
    noise = generator(seed, "noise").standard_normal(_NOISE_FRAMES, dtype=np.float32)
    noise *= np.float32(10 ** (NOISE_DBFS / 20))
    lengths_s = {
        name: tuple(len(phrase) / BANK_RATE_HZ for phrase in said) for name, said in voices.items()
    }

    def said_by(speaker: TrackName) -> Iterator[Phrase]:
        return (phrase for phrase in script(seed, lengths_s) if phrase.speaker == speaker)

    def world(track: TrackName) -> Sound:
        if track == "bot":
            return Playback(said_by("bot"), voices["bot"])
        user = Playback(said_by("user"), voices["user"])
        return _microphone(user, Playback(said_by("bot"), echoes), noise)

    return world


def script(seed: int, lengths_s: Mapping[TrackName, Sequence[float]]) -> Iterator[Phrase]:
    """Write the endless conversation: every phrase of both speakers, turn by turn.

    A speaker's own phrases never overlap; the two speakers' sometimes do.
    """
    rng = generator(seed, "script")
    speaker: TrackName = "bot"
    start_s = _GREETING_S
    for turn in count():
        opening = turn < _OPENING_TURNS
        target_s = 0.0 if opening else rng.uniform(*_TURN_S)
        end_s = start_s
        while end_s - start_s <= target_s:
            index = int(rng.integers(len(lengths_s[speaker])))
            yield Phrase(speaker, end_s, index)
            end_s += lengths_s[speaker][index] + rng.uniform(*_BREATH_S)
        interrupted = not opening and rng.random() < _INTERRUPTED_SHARE
        start_s = end_s + (
            -rng.uniform(*_INTERRUPTION_S) if interrupted else rng.uniform(*_PAUSE_S)
        )
        speaker = "user" if speaker == "bot" else "bot"


class Playback:
    """One speaker's phrases, heard at any step of true time.

    Parameters
    ----------
    said
        The speaker's phrases in the order in which they are said, none over another.
    bank
        The samples of each phrase, at `BANK_RATE_HZ`.
    """

    def __init__(self, said: Iterator[Phrase], bank: Sequence[Samples]) -> None:
        self._said = said
        self._bank = bank
        self._phrase = next(said)

    def __call__(self, first_s: float, step_s: float, frames: int) -> Samples | None:
        """Return what is said at these instants; see `Sound`."""
        heard: Samples | None = None
        last_s = first_s + step_s * (frames - 1)
        while self._phrase.start_s <= last_s:
            samples = self._bank[self._phrase.index]
            # In frames of the bank, from the phrase's start: before it, negative.
            first = (first_s - self._phrase.start_s) * BANK_RATE_HZ
            step = step_s * BANK_RATE_HZ
            start = max(0, math.ceil(-first / step))
            # Two frames short of its end: rounding may push the last position one further.
            stop = min(frames, math.ceil((len(samples) - 2 - first) / step))
            if start < stop:
                if heard is None:
                    heard = np.zeros(frames, np.float32)
                heard[start:stop] = _between(samples, first + start * step, step, stop - start)
            if stop == frames:
                break  # the rest of it is for the next block
            self._phrase = next(self._said)
        return heard


def _between(samples: Samples, first: float, step: float, frames: int) -> Samples:
    """Read `samples` at first, first + step, ..., on straight lines between its frames."""
    positions = first + step * np.arange(frames)
    before = positions.astype(np.int32)
    share = (positions - before).astype(np.float32)
    left = samples[before]
    read: Samples = left + share * (samples[before + 1] - left)
    return read


def _echo(phrase: Samples) -> Samples:
    """Return the phrase as the microphone hears it from the loudspeaker."""
    taps = [
        (round((ECHO_DELAY_S + after_s) * BANK_RATE_HZ), level) for after_s, level in _ECHO_TAIL
    ]
    energy = sum(level**2 for _, level in taps)
    direct = 10 ** (ECHO_DB / 20) / math.sqrt(energy)
    echo = np.zeros(len(phrase) + taps[-1][0], np.float32)
    for delay, level in taps:
        echo[delay : delay + len(phrase)] += np.float32(direct * level) * phrase
    return echo


def _microphone(user: Sound, echo: Sound, noise: Samples) -> Sound:
    def hear(first_s: float, step_s: float, frames: int) -> Samples:
        # The room's noise is not a function of time: nobody hears it twice.
        start = round(first_s / step_s) * _NOISE_STRIDE % (len(noise) - frames)
        heard = noise[start : start + frames]
        for sound in (user(first_s, step_s, frames), echo(first_s, step_s, frames)):
            if sound is not None:
                heard = heard + sound
        return heard

    return hear
