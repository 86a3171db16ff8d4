import numpy as np
import pytest

from edgerec.simulation.voice import (
    BANK_RATE_HZ,
    PEAK,
    PHRASE_S,
    SYLLABLE_HZ,
    Speaker,
    phrases,
)

PITCH_HZ = 115.0


@pytest.fixture(scope="module")
def spoken():
    return phrases(Speaker(PITCH_HZ, tract=1.0), 6, np.random.default_rng(1))


def power(samples, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / BANK_RATE_HZ)
    return spectrum[(hz >= low_hz) & (hz < high_hz)].sum() / spectrum.sum()


def test_phrases_have_the_stated_length_and_peak(spoken):
    for phrase in spoken:
        assert PHRASE_S[0] <= len(phrase) / BANK_RATE_HZ <= PHRASE_S[1]
        assert np.abs(phrase).max() == pytest.approx(PEAK)


def test_the_same_seed_speaks_the_same_phrases(spoken):
    again = phrases(Speaker(PITCH_HZ, tract=1.0), 6, np.random.default_rng(1))
    assert all((a == b).all() for a, b in zip(spoken, again, strict=True))
    other = phrases(Speaker(PITCH_HZ, tract=1.0), 6, np.random.default_rng(2))
    assert not np.array_equal(spoken[0], other[0])


def test_its_sound_lies_where_speech_does(spoken):
    sound = np.concatenate(spoken)
    assert power(sound, 100, 8000) > 0.99
    assert power(sound, 300, 1000) > power(sound, 1000, 8000)  # first formants above the rest
    # Bands of a plain tone or two would be empty: each of speech's octaves holds over a percent.
    for low_hz in (250, 500, 1000, 2000):
        assert power(sound, low_hz, 2 * low_hz) > 0.01


def test_its_loudness_swells_with_the_syllables(spoken):
    """The strongest change of loudness is at the rate of syllables; the last may be cut short."""
    hop = BANK_RATE_HZ // 100
    for phrase in spoken:
        frames = phrase[: len(phrase) // hop * hop].reshape(-1, hop)
        loudness = np.sqrt((frames**2).mean(axis=1))
        spectrum = np.abs(np.fft.rfft(loudness - loudness.mean(), 1024))
        strongest_hz = np.fft.rfftfreq(1024, 0.01)[spectrum.argmax()]
        assert SYLLABLE_HZ[0] / 2 < strongest_hz < SYLLABLE_HZ[1] * 2


def test_a_longer_vocal_tract_lowers_the_formants():
    def centre_hz(tract):
        (phrase,) = phrases(Speaker(PITCH_HZ, tract), 1, np.random.default_rng(3))
        spectrum = np.abs(np.fft.rfft(phrase)) ** 2
        return np.average(np.fft.rfftfreq(len(phrase), 1 / BANK_RATE_HZ), weights=spectrum)

    assert centre_hz(0.8) < centre_hz(1.0) < centre_hz(1.25)
