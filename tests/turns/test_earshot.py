"""The default classifier: what tells notes from voices, and the same however its input is cut."""

import numpy as np
import pytest
import soxr

from edgerec.turns.bands import FRAME, RATE_HZ
from edgerec.turns.earshot import Earshot, Tonality
from edgerec.turns.user import EXCESS_DB
from tests.turns.material import Speech, clatter, music, quiet
from tests.turns.measure import CLIPS


def frames(samples):
    low = soxr.resample(samples, 2 * RATE_HZ, RATE_HZ)
    return low[: len(low) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)


def speech(seconds, seed=4):
    return frames(Speech(CLIPS).turn(np.random.default_rng(seed), seconds).samples)


def probabilities(made, excess_db=EXCESS_DB):
    excess = np.full(len(made), excess_db, np.float32)
    return np.array(list(Earshot().probabilities(made, excess)))


@pytest.mark.parametrize("cut", [1, 5, 64])
def test_probabilities_do_not_depend_on_how_the_signal_is_cut(cut):
    made = speech(6)
    excess = np.random.default_rng(1).uniform(0, EXCESS_DB, len(made)).astype(np.float32)
    whole = np.array(list(Earshot().probabilities(made, excess)))
    classifier = Earshot()
    cuts = [
        list(classifier.probabilities(made[at : at + cut], excess[at : at + cut]))
        for at in range(0, len(made), cut)
    ]
    assert whole.shape == (len(made),)
    assert np.allclose(np.concatenate(cuts), whole, atol=1e-4)


def test_held_tones_sound_the_same_again_and_noise_does_not():
    at = np.arange(100 * FRAME) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * at) for hz in (440.0, 554.4, 659.3, 880.0, 1_318.5))
    noise = np.random.default_rng(2).standard_normal(len(at))
    tonal = Tonality().measure((0.05 * chord).astype(np.float32).reshape(-1, FRAME))
    other = Tonality().measure((0.05 * noise).astype(np.float32).reshape(-1, FRAME))
    assert tonal[4:].min() > 0.8
    assert np.median(other) < 0.1


def test_a_voice_moves_its_harmonics_and_music_does_not():
    rng = np.random.default_rng(3)
    voice = Tonality().measure(speech(10))
    notes = Tonality().measure(frames(music(rng, 160_000)))
    assert np.percentile(voice, 90) < np.percentile(notes, 10)


def test_how_loud_a_signal_is_changes_nothing_in_how_tonal_it_is():
    made = (0.1 * np.random.default_rng(5).standard_normal((200, FRAME))).astype(np.float32)
    assert np.allclose(Tonality().measure(made), Tonality().measure(made / 4), atol=0.01)


def test_speech_may_begin_in_speech_and_not_in_clatter_or_music():
    rng = np.random.default_rng(3)
    likely = Earshot.thresholds.likely
    assert np.mean(probabilities(speech(10)) >= likely) > 0.5
    for noise in (clatter, music, quiet):
        assert np.mean(probabilities(frames(noise(rng, 160_000))) >= likely) == 0


def test_what_stands_out_far_has_to_be_more_probable():
    made = speech(5)
    near, far = probabilities(made, 0), probabilities(made, EXCESS_DB)
    assert np.allclose(near[8:] - far[8:], 0.2)


def test_music_that_stands_out_little_is_kept_out_by_its_tones_alone():
    made = frames(2 * music(np.random.default_rng(5), 160_000))  # a third of it, but for its tones
    assert np.mean(probabilities(made, 0) >= Earshot.thresholds.likely) == 0


def test_the_network_is_given_nothing_beyond_full_scale():
    class Network:
        largest = 0.0

        def predict_f32(self, piece):
            self.largest = max(self.largest, float(np.abs(piece).max()))
            return 0.5

    classifier = Earshot()
    classifier._network = Network()
    list(classifier.probabilities(np.ones((5, FRAME), np.float32), np.zeros(5, np.float32)))
    assert classifier._network.largest == 1.0
