"""The weights of `edgerec.turns.spectral`, from labelled speech in made noise, music and echo.

`scripts/train-spectral` makes them anew, the same every time. What they are worth on other speech
is measured with `scripts/measure-turns --detector spectral --speech DIR`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import FRAME_S
from edgerec.turns.detectors import Detectors
from edgerec.turns.presence import LOUD_DB
from edgerec.turns.spectral import WEIGHTS, SpectralFeatures
from edgerec.turns.user import AnyLoudness, UserDetector
from tests.turns.material import NOISES, RATE_HZ, Speech
from tests.turns.measure import CLIPS, detect
from tests.turns.mixtures import Scene, echoing, noisy, only

HIDDEN = 16
EPOCHS = 15
BATCH = 256
SEED = 1


class Listening(AnyLoudness):
    """A judge that keeps the features of all it is asked of."""

    def __init__(self) -> None:
        self._features = SpectralFeatures()
        self.heard: list[NDArray[np.float32]] = []
        self.loud: list[NDArray[np.bool_]] = []

    def probabilities(self, frames, excess_db, /):
        self.heard.append(self._features.measure(frames, excess_db))
        self.loud.append(excess_db > LOUD_DB)
        return super().probabilities(frames, excess_db)


def material(speech: Speech) -> Iterator[Scene]:
    """Yield what is learned from; no seed is one that is measured with."""
    for seed, noise in enumerate(NOISES):
        yield from noisy(speech, noise, 70, 1_010 + seed)
        yield from only(noise, 0.35, 1_020 + seed)
    for seed, db in enumerate((-6.0, -12.0, -20.0)):
        yield from echoing(speech, db, 0.1, 1_030 + seed, barge_ins=True)


def examples(scenes: Iterator[Scene]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the features of all loud frames, and 1 for those of spoken turns."""
    features, labels = [], []
    for scene in scenes:
        judge = Listening()
        detectors = Detectors(RATE_HZ, "level")
        detectors._user = UserDetector(judge)
        detect(scene, detectors)
        loud = np.concatenate(judge.loud)
        at = (np.arange(len(loud)) + 0.5) * FRAME_S
        spoken = np.zeros(len(loud), bool)
        for turn in scene.user:
            spoken |= (at > turn.start) & (at < turn.stop)
        features.append(np.concatenate(judge.heard)[loud])
        labels.append(spoken[loud])
    return np.concatenate(features), np.concatenate(labels).astype(np.float32)


def train(features: NDArray[np.float32], labels: NDArray[np.float32]) -> dict[str, NDArray]:
    """Return the weights, by Adam (D. Kingma, J. Ba, ICLR 2015) on cross-entropy."""
    rng = np.random.default_rng(SEED)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    scaled = ((features - mean) / spread).astype(np.float64)
    weights = [
        rng.normal(0, 0.3, (scaled.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, 0.3, HIDDEN),
        np.zeros(1),
    ]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step, rate = 0, 0.01
    for _ in range(EPOCHS):
        order = rng.permutation(len(scaled))
        for at in range(0, len(order) - BATCH, BATCH):
            chosen = order[at : at + BATCH]
            step += 1
            for i, slope in enumerate(_slopes(weights, scaled[chosen], labels[chosen])):
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                mean_slope, mean_square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
                weights[i] = weights[i] - rate * mean_slope / (np.sqrt(mean_square) + 1e-8)
        rate *= 0.75
    names = ("first", "bias", "second", "last")
    named = dict(zip(names, weights, strict=True)) | {"mean": mean, "spread": spread}
    return {name: value.astype(np.float32) for name, value in named.items()}


def _slopes(weights, inputs, labels):
    hidden = np.tanh(inputs @ weights[0] + weights[1])
    error = 1 / (1 + np.exp(-(hidden @ weights[2] + weights[3]))) - labels
    error /= len(labels)
    back = np.outer(error, weights[2]) * (1 - hidden**2)
    return inputs.T @ back, back.sum(axis=0), hidden.T @ error, np.array([error.sum()])


def main() -> None:
    """Write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, default=CLIPS, help="labelled clips: NN.wav, NN.scv")
    place = resources.files("edgerec.turns").joinpath(WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path(str(place)))
    args = parser.parse_args()
    features, labels = examples(material(Speech(args.speech)))
    print(f"{len(labels)} loud frames, {labels.mean():.0%} of them speech")
    np.savez(args.out, **train(features, labels))


if __name__ == "__main__":
    main()
