import math

import numpy as np
import pytest

from edgerec.sync.fold import Fold

FRAMES = 48_000
GRAIN_DB = 0.8  # 3000 frames that are measured: 3 % of a power, four times over


def noise(seed, rms=1_000.0):
    return np.random.default_rng(seed).normal(0, rms, FRAMES)


def gain_db(*channels):
    fold = Fold(len(channels))
    fold.write(np.stack(channels, axis=1).astype("<i2").tobytes())
    return fold.gain_db


def test_two_channels_are_folded_to_their_mean():
    pcm = np.array([[1_000, 3_000], [-32_768, 32_767]], dtype="<i2").tobytes()
    assert Fold(2).write(pcm).tolist() == [2_000.0, -0.5]
    assert Fold(1).write(pcm).tolist() == [1_000.0, 3_000.0, -32_768.0, 32_767.0]


@pytest.mark.parametrize("channels", [2, 6, 64])
def test_unrelated_channels_leave_what_is_expected_of_them(channels):
    assert gain_db(*map(noise, range(channels))) == pytest.approx(0, abs=GRAIN_DB)


@pytest.mark.parametrize("channels", [2, 6])
def test_equal_channels_are_louder_and_a_single_live_one_is_not_quieter(channels):
    silent = [np.zeros(FRAMES)] * (channels - 1)
    assert gain_db(*[noise(0)] * channels) == pytest.approx(10 * math.log10(channels), abs=0.1)
    assert gain_db(noise(0), *silent) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("match", [1.0, 0.9, 0.7])
def test_channels_that_cancel_leave_far_less(match):
    left = noise(0)
    expected = 10 * math.log10(max((1 - match) ** 2 / 2 / ((1 + match**2) / 2), 1e-6))
    assert gain_db(left, -match * left) <= max(expected + GRAIN_DB, -40)
    assert gain_db(left, -match * left) < -9


def test_one_channel_and_silence_say_nothing():
    assert gain_db(noise(0)) is None
    assert gain_db(np.zeros(FRAMES), np.zeros(FRAMES)) is None
    assert gain_db(noise(0, rms=5), -noise(0, rms=5)) is None
    assert Fold(2).gain_db is None


def test_a_tone_is_measured_whatever_its_period():
    tone = 8_000 * np.sin(2 * np.pi * np.arange(FRAMES) / 16)
    assert gain_db(tone, tone) == pytest.approx(10 * math.log10(2), abs=0.1)


def test_what_was_is_forgotten_within_seconds():
    left = noise(0)
    fold = Fold(2)
    fold.write(np.stack([left, left], axis=1).astype("<i2").tobytes())
    for _ in range(32):
        fold.write(np.stack([left, -left], axis=1).astype("<i2").tobytes())
    assert fold.gain_db < -9
