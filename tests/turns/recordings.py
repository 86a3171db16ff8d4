"""Music and impacts out of a folder of recordings, in place of those that are made in code."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from tests.turns.material import NOISES, RATE_HZ, SPEECH_DB, Samples, faded, level, quiet

SHORTEST_MUSIC_S, LONGEST_IMPACT_S = 15.0, 2.0
PIECE = 60 * RATE_HZ  # of each piece of music, at most


def use_recordings(folder: Path) -> None:
    """Take what is long for music and what is short for impacts; what is in between is neither."""
    played: list[Samples] = []
    struck: list[Samples] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".flac", ".ogg", ".wav")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono: Samples = soxr.resample(samples.mean(axis=1), rate, RATE_HZ)
        if len(mono) > SHORTEST_MUSIC_S * RATE_HZ:
            played.append(mono)
        elif len(mono) < LONGEST_IMPACT_S * RATE_HZ and np.any(mono):
            struck.append(mono / np.max(np.abs(mono)))
    if played:
        NOISES["music"] = lambda rng, frames: _played(rng, frames, played)
    if struck:
        NOISES["clatter"] = lambda rng, frames: _struck(rng, frames, struck)


def _played(rng: np.random.Generator, frames: int, pieces: list[Samples]) -> Samples:
    """One piece after the other, 10 dB under speech."""
    made = np.zeros(0, np.float32)
    while len(made) < frames:
        piece = pieces[rng.integers(len(pieces))]
        at = int(rng.integers(max(1, len(piece) - PIECE)))
        piece = faded(piece[at : at + PIECE], 0.05)
        if power := float(np.sqrt(np.mean(piece**2))):
            made = np.concatenate([made, piece * np.float32(level(SPEECH_DB - 10) / power)])
    return made[:frames]


def _struck(rng: np.random.Generator, frames: int, impacts: list[Samples]) -> Samples:
    """As dense and as loud as those of `material.clatter`."""
    made = quiet(rng, frames)
    for at in rng.integers(0, frames, rng.poisson(2.0 * frames / RATE_HZ)):
        impact = impacts[rng.integers(len(impacts))][: frames - at]
        made[at : at + len(impact)] += impact * np.float32(level(rng.uniform(-36, -12)))
    return made
