"""The detector without a network: the same however its input is cut, and its weights fit it."""

import numpy as np
import pytest
import soxr

from edgerec.turns.bands import FRAME, RATE_HZ
from edgerec.turns.echo import Heard
from edgerec.turns.presence import LOUD_DB, Presence
from edgerec.turns.spectral import Spectral, SpectralFeatures
from tests.turns.material import Speech, clatter, music
from tests.turns.measure import CLIPS
from tests.turns.train import train

FRAMES = 200


def frames(samples):
    low = soxr.resample(samples, 2 * RATE_HZ, RATE_HZ)
    return low[: len(low) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)


@pytest.mark.parametrize("cut", [1, 5, 64])
def test_features_do_not_depend_on_how_the_signal_is_cut(cut):
    rng = np.random.default_rng(1)
    signal = (0.1 * rng.standard_normal((FRAMES, FRAME))).astype(np.float32)
    excess = rng.uniform(0, 15, FRAMES).astype(np.float32)
    whole = SpectralFeatures().measure(signal, excess)
    features = SpectralFeatures()
    cuts = [
        features.measure(signal[at : at + cut], excess[at : at + cut])
        for at in range(0, FRAMES, cut)
    ]
    assert whole.shape == (FRAMES, 19)
    assert np.allclose(np.concatenate(cuts), whole, atol=1e-4)


def test_how_loud_a_signal_is_changes_nothing_but_how_it_stands_out():
    rng = np.random.default_rng(2)
    signal = (0.1 * rng.standard_normal((FRAMES, FRAME))).astype(np.float32)
    excess = np.full(FRAMES, 9.0, np.float32)
    loud = SpectralFeatures().measure(signal, excess)
    faint = SpectralFeatures().measure(signal / 4, excess)
    settled = 31  # frames, after which the silence before has left the means
    assert np.allclose(loud[settled:], faint[settled:], atol=1e-2)


def test_speech_is_more_probable_than_clatter_and_music():
    rng = np.random.default_rng(3)
    speech = Speech(CLIPS).turn(rng, 10).samples
    heard = {
        "speech": speech,
        "clatter": clatter(rng, len(speech)),
        "music": music(rng, len(speech)),
    }
    median = {}
    for name, samples in heard.items():
        made = frames(samples)
        nothing = np.zeros(made.size, np.float32)
        excess = Presence().excess_db(Heard(made.ravel(), nothing, nothing), locked=False)
        probabilities = np.array(list(Spectral().probabilities(made, excess)))
        median[name] = np.median(probabilities[excess > LOUD_DB])
    assert median["speech"] > 0.6
    assert median["speech"] > median["clatter"] + 0.3
    assert median["speech"] > median["music"] + 0.3


def test_what_is_not_loud_never_begins_speech():
    made = frames(Speech(CLIPS).turn(np.random.default_rng(4), 5).samples)
    probabilities = Spectral().probabilities(made, np.zeros(len(made), np.float32))
    assert max(probabilities) < Spectral.thresholds.on


def test_training_finds_what_tells_examples_apart_the_same_every_time():
    rng = np.random.default_rng(5)
    features = rng.standard_normal((4_000, 19)).astype(np.float32)
    labels = (features[:, 3] > features[:, 7]).astype(np.float32)
    weights, again = train(features, labels), train(features, labels)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    scaled = (features - weights["mean"]) / weights["spread"]
    hidden = np.tanh(scaled @ weights["first"] + weights["bias"])
    said = hidden @ weights["second"] + weights["last"] > 0
    assert np.mean(said == (labels > 0)) > 0.95
