"""Speech-like phrases for the virtual kiosk's speakers, made from a seed.

Each glottal pulse sets off one damped sine per formant, and the formants glide from vowel to
vowel: time-domain formant-wave-function synthesis (X. Rodet, Computer Music Journal 8(3), 1984).
Consonants are the same grains at a formant of noise. It is speech to a level meter or a voice
activity detector, and nonsense to a listener.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BANK_RATE_HZ: Final = 96_000
"""Sampling rate of the phrases, twice the usual device rate: linear interpolation is then within
-65 dB of the voice at 1 kHz and -41 dB at 4 kHz."""

PEAK: Final = 0.5
"""Peak of a phrase, full scale being 1: a voice and the other's echo never saturate together."""

PHRASE_S: Final = (0.6, 1.5)
SYLLABLE_HZ: Final = (3.0, 6.0)

Samples = NDArray[np.float32]

_VOWELS_HZ: Final = np.array(  # F1, F2, F3 of a e i o u: Peterson and Barney, JASA 24 (1952)
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]]
)
_BANDWIDTHS_HZ: Final = np.array([80.0, 110.0, 170.0])
_LEVELS: Final = np.array([1.0, 0.5, 0.2])
_GRAIN_S: Final = 0.02  # the narrowest formant is 44 dB down by then
_ATTACK_S: Final = 0.001  # a grain that starts at once would click through the whole band
_CONSONANT_HZ: Final = (2500.0, 5500.0)
_CONSONANT_S: Final = (0.04, 0.09)
_CONSONANT_PULSES_HZ: Final = 4000
_CONSONANT_LEVEL: Final = 0.1
_CONSONANT_SHARE: Final = 0.6  # of the syllables


@dataclass(frozen=True, slots=True)
class Speaker:
    """The properties of one voice."""

    pitch_hz: float
    tract: float
    """Ratio of its formant frequencies to the vowel table's: above 1 for a shorter vocal tract."""


def phrases(speaker: Speaker, count: int, rng: np.random.Generator) -> tuple[Samples, ...]:
    """Speak `count` phrases of `PHRASE_S` seconds.

    Returns
    -------
    float32, shape (frames,) each, at `BANK_RATE_HZ`, with a peak of `PEAK`
    """
    return tuple(_phrase(speaker, rng) for _ in range(count))


def _phrase(speaker: Speaker, rng: np.random.Generator) -> Samples:
    frames = int(rng.uniform(*PHRASE_S) * BANK_RATE_HZ)
    voice = np.zeros(frames)
    start = 0
    vowel = rng.integers(len(_VOWELS_HZ))
    while start < frames:
        stop = min(start + int(BANK_RATE_HZ / rng.uniform(*SYLLABLE_HZ)), frames)
        if rng.random() < _CONSONANT_SHARE:
            start += _add_consonant(voice[start:stop], rng)
        following = rng.integers(len(_VOWELS_HZ))
        glide_hz = speaker.tract * _VOWELS_HZ[[vowel, following]]
        # Pitch falls over a phrase: it is how listeners know that one ends.
        pitch_hz = speaker.pitch_hz * (1.15 - 0.3 * start / frames)
        _add_vowel(voice[start:stop], glide_hz, pitch_hz * rng.uniform(0.95, 1.05))
        start, vowel = stop, following
    voice *= PEAK / np.abs(voice).max()
    return voice.astype(np.float32)


def _add_vowel(voice: NDArray[np.float64], glide_hz: NDArray[np.float64], pitch_hz: float) -> None:
    """Fill `voice` with one syllable whose formants move from `glide_hz[0]` to `glide_hz[1]`."""
    pulses = np.arange(0, len(voice), BANK_RATE_HZ / pitch_hz).astype(int)
    progress = pulses[:, np.newaxis] / max(len(voice), 1)
    formants_hz = glide_hz[0] + progress * (glide_hz[1] - glide_hz[0])
    swell = np.sin(np.pi * progress) ** 0.5
    _add_grains(voice, pulses, formants_hz, swell * _LEVELS)


def _add_consonant(voice: NDArray[np.float64], rng: np.random.Generator) -> int:
    """Begin `voice` with a burst of noise and return its length in frames."""
    frames = min(int(rng.uniform(*_CONSONANT_S) * BANK_RATE_HZ), len(voice))
    pulses = np.sort(rng.integers(0, max(frames, 1), frames * _CONSONANT_PULSES_HZ // BANK_RATE_HZ))
    formants_hz = np.tile(rng.uniform(*_CONSONANT_HZ, size=3), (len(pulses), 1))
    signs = rng.choice([-1.0, 1.0], (len(pulses), 1))
    _add_grains(voice[:frames], pulses, formants_hz, signs * _CONSONANT_LEVEL * _LEVELS)
    return frames


def _add_grains(
    voice: NDArray[np.float64],
    pulses: NDArray[np.int_],
    formants_hz: NDArray[np.float64],
    levels: NDArray[np.float64],
) -> None:
    """Set off a damped sine per formant at each pulse; `formants_hz`, `levels`: (pulses, 3)."""
    times_s = np.arange(int(_GRAIN_S * BANK_RATE_HZ)) / BANK_RATE_HZ
    attack = 0.5 - 0.5 * np.cos(np.pi * np.minimum(times_s / _ATTACK_S, 1.0))
    damping = attack * np.exp(-np.pi * _BANDWIDTHS_HZ[:, np.newaxis] * times_s)
    for pulse, hz, level in zip(pulses, formants_hz, levels, strict=True):
        rest = voice[pulse : pulse + len(times_s)]
        waves = np.sin(2 * np.pi * hz[:, np.newaxis] * times_s[: len(rest)])
        rest += level @ (damping[:, : len(rest)] * waves)
