"""Turns in noise, music and echo, on a sample of what `scripts/measure-turns` measures.

The bounds are those wanted of the whole, less what one turn or one false turn of so few is worth.
"""

import functools

import pytest

from tests.turns.material import NOISES, Speech
from tests.turns.measure import CLIPS, conditions, measure

TURNS = 12
HOURS = 1 / 15  # one scene of four minutes
ONE = 1 / TURNS
# A condition's scenes are made once for both detectors, so both run in the same process.
EACH_NOISE = [pytest.param(noise, marks=pytest.mark.xdist_group(noise)) for noise in NOISES]


@pytest.fixture(scope="module")
def scenes():
    """Make what a condition's name says, once."""
    made = conditions(Speech(CLIPS), TURNS, HOURS)
    return functools.cache(lambda name: list(made[name]()))


@pytest.mark.parametrize("noise", EACH_NOISE)
def test_spoken_turns_are_found_in_place(scenes, noise):
    score = measure(scenes(f"turns in {noise}"), "silero").score
    assert score.spoken == TURNS
    assert score.recall >= 0.95 - 2 * ONE
    assert score.false <= 1
    # Pre-roll covers a second; a median is not moved by one turn found late.
    assert sorted(map(abs, score.start_ms))[TURNS // 2 - 1] < 150
    assert sorted(map(abs, score.end_ms))[TURNS // 2 - 1] < 200


@pytest.mark.parametrize("noise", EACH_NOISE)
def test_nobody_speaks_in_noise_alone(scenes, noise):
    assert measure(scenes(f"nobody, {noise}"), "silero").score.false <= 1


@pytest.mark.parametrize("return_db", [-6, -12, -20])
def test_the_bot_is_no_user_and_whoever_speaks_over_it_is(scenes, return_db):
    alone = measure(scenes(f"echo {return_db} dB, nobody"), "silero")
    assert alone.score.false <= 1
    assert max(alone.delay_error_ms) < 2
    assert max(alone.return_error_db) < 2
    score = measure(scenes(f"echo {return_db} dB, barge-ins"), "silero").score
    assert score.spoken >= 5
    assert score.found >= score.spoken - 1


@pytest.mark.parametrize("noise", EACH_NOISE)
def test_by_default_turns_are_found_too(scenes, noise):
    score = measure(scenes(f"turns in {noise}"), "earshot").score
    assert score.recall >= (0.9 if noise == "music" else 0.95) - 2 * ONE
    assert score.false <= 1


@pytest.mark.parametrize("noise", EACH_NOISE)
def test_by_default_nobody_speaks_in_noise_alone(scenes, noise):
    # By loudness alone it is fifty in this time, or all of the music.
    assert measure(scenes(f"nobody, {noise}"), "earshot").score.false <= 1


def test_by_default_the_bot_is_no_user_and_whoever_speaks_over_it_is(scenes):
    assert measure(scenes("echo -6 dB, nobody"), "earshot").score.false <= 1
    score = measure(scenes("echo -6 dB, barge-ins"), "earshot").score
    assert score.found >= score.spoken - 1
