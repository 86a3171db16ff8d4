import itertools

import numpy as np
import pytest

from edgerec.simulation.conversation import (
    ECHO_DB,
    ECHO_DELAY_S,
    NOISE_DBFS,
    Phrase,
    Playback,
    conversation,
    script,
    silence,
    tone,
)
from edgerec.simulation.voice import BANK_RATE_HZ

RATE_HZ = 48_000
LENGTHS_S = {"user": (0.7, 1.4), "bot": (0.6, 1.5)}


@pytest.fixture(scope="module")
def world():
    return conversation(seed=7)


def listen(sound, seconds, *, rate_hz=RATE_HZ, block_frames=4800, start_s=0.0):
    blocks = []
    for first in range(0, int(seconds * rate_hz), block_frames):
        heard = sound(start_s + first / rate_hz, 1 / rate_hz, block_frames)
        blocks.append(np.zeros(block_frames, np.float32) if heard is None else heard)
    return np.concatenate(blocks)


def dbfs(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.mark.parametrize("seed", range(50))
def test_both_speakers_have_spoken_within_the_first_five_seconds(seed):
    first = {}
    for phrase in itertools.takewhile(lambda p: p.start_s < 60, script(seed, LENGTHS_S)):
        end_s = phrase.start_s + LENGTHS_S[phrase.speaker][phrase.index]
        first.setdefault(phrase.speaker, end_s)
    assert first.keys() == {"user", "bot"}
    assert max(first.values()) < 5.0
    opening = list(itertools.islice(script(seed, LENGTHS_S), 3))
    assert first["bot"] < opening[1].start_s  # nobody talks into the greeting,
    assert first["user"] < opening[2].start_s  # nor into the first answer


@pytest.mark.parametrize("lengths_s", [LENGTHS_S, {"user": (0.6,), "bot": (1.01,)}])
@pytest.mark.parametrize("seed", range(5))
def test_a_speaker_never_talks_over_himself_and_the_two_sometimes_over_each_other(seed, lengths_s):
    said = list(itertools.islice(script(seed, lengths_s), 4000))
    end_s = {"user": 0.0, "bot": 0.0}
    overlaps = 0
    for phrase in said:
        assert phrase.start_s >= end_s[phrase.speaker]
        overlaps += any(phrase.start_s < end_s[other] for other in end_s)
        end_s[phrase.speaker] = phrase.start_s + lengths_s[phrase.speaker][phrase.index]
    assert 0 < overlaps < len(said) / 2


def test_turns_last_a_second_to_six_and_take_turns():
    said = list(itertools.islice(script(1, LENGTHS_S), 2000))
    turns = [list(turn) for _, turn in itertools.groupby(said, key=lambda p: p.speaker)]
    for turn in turns[2:-1]:
        last = turn[-1]
        length_s = last.start_s + LENGTHS_S[last.speaker][last.index] - turn[0].start_s
        assert 0.6 <= length_s <= 6.35  # a phrase more than 4.5 s, and the breath before it


def test_listeners_of_one_seed_hear_the_same_and_of_another_something_else(world):
    heard = listen(world("user"), 5)
    assert np.array_equal(heard, listen(world("user"), 5))
    assert np.array_equal(heard, listen(conversation(seed=7)("user"), 5))
    assert not np.array_equal(heard, listen(conversation(seed=8)("user"), 5))


def test_what_is_heard_does_not_depend_on_how_it_is_cut_into_blocks(world):
    whole = listen(world("bot"), 10, block_frames=48_000)
    pieces = listen(world("bot"), 10, block_frames=480)
    # A float position differs in its last bits with the block it is counted from.
    assert np.abs(whole - pieces).max() < 1e-5


def test_a_listener_who_comes_late_hears_what_the_others_hear(world):
    early = listen(world("bot"), 60)
    late = listen(world("bot"), 20, start_s=40.0)
    assert np.abs(early[40 * RATE_HZ :] - late).max() < 1e-5


def test_the_loopback_is_digitally_silent_while_the_bot_says_nothing(world):
    assert world("bot")(0.0, 1 / RATE_HZ, 4800) is None


def test_the_room_is_heard_at_its_stated_level_and_never_repeats_a_block(world):
    sound = world("user")
    blocks = [sound(n / 10, 1 / RATE_HZ, 4800) for n in range(3)]  # before the greeting
    # 14400 samples of noise: their RMS is within 0.6 % (0.05 dB) of its own, one sigma
    assert dbfs(np.concatenate(blocks)) == pytest.approx(NOISE_DBFS, abs=0.2)
    assert not np.array_equal(blocks[0], blocks[1])


def test_the_microphone_hears_the_bots_echo_at_its_stated_delay_and_level(world):
    """The greeting: the bot alone."""
    loopback, microphone = listen(world("bot"), 2), listen(world("user"), 2)
    start = np.flatnonzero(loopback)[0]
    greeting = loopback[start : start + RATE_HZ // 2]
    lags = range(RATE_HZ // 10)
    match = [microphone[start + lag : start + lag + len(greeting)] @ greeting for lag in lags]
    assert np.argmax(match) == round(ECHO_DELAY_S * RATE_HZ)
    stop = start + RATE_HZ
    level_db = dbfs(microphone[start : stop + 2880]) - dbfs(loopback[start:stop])
    # The tail's reflections add to the direct sound or take from it: up to twice their level.
    assert level_db == pytest.approx(ECHO_DB, abs=6)


def test_nothing_saturates(world):
    assert np.abs(listen(world("user"), 120)).max() < 0.75


def test_a_phrase_sounds_at_its_instant_whatever_the_step():
    ramp = np.arange(BANK_RATE_HZ, dtype=np.float32)  # a sample's value is its place
    for step_s in (1 / 48_000, 1.0001 / 44_100, 1 / 16_000):
        playback = Playback(iter([Phrase("bot", 0.5, 0), Phrase("bot", 9.0, 0)]), [ramp])
        frames = int(2 / step_s)
        heard = playback(0.0, step_s, frames)
        true_s = step_s * np.arange(frames)
        said = (true_s >= 0.5) & (true_s < 1.5 - 3 / BANK_RATE_HZ)
        # float32 holds a place near 96,000 to 2**-7
        assert np.abs(heard[said] - (true_s[said] - 0.5) * BANK_RATE_HZ).max() < 2**-6
        assert not heard[true_s < 0.5].any()
        assert not heard[true_s > 1.5].any()


def test_two_phrases_in_one_block_are_both_heard():
    playback = Playback(
        iter([Phrase("bot", 0.1, 0), Phrase("bot", 0.5, 0), Phrase("bot", 9.0, 0)]),
        [np.ones(BANK_RATE_HZ // 10, np.float32)],
    )
    heard = playback(0.0, 1 / 1000, 1000)
    assert np.flatnonzero(np.diff(heard)).tolist() == [99, 199, 499, 599]


def test_a_silent_world_makes_no_samples_and_a_tone_is_the_same_for_every_device():
    assert silence("user")(0.0, 1 / RATE_HZ, 4800) is None
    day_s = 86_400.0
    sine = tone(1000.0, dbfs=-6.0)
    heard = sine("user")(day_s, 1 / RATE_HZ, RATE_HZ)
    assert np.array_equal(heard, sine("bot")(day_s, 1 / RATE_HZ, RATE_HZ))
    expected = 10 ** (-6 / 20) * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(heard - expected).max() < 1e-6


def test_rounding_never_reads_past_a_phrases_end():
    rng = np.random.default_rng(0)
    bank = [np.ones(960, np.float32)]
    for _ in range(5000):
        step_s = 1 / rng.integers(8_000, 48_001)
        start_s = rng.integers(1, 1000) / 100
        # A position falls on the phrase's very last frame, give or take a rounding error.
        first_s = start_s + 959 / BANK_RATE_HZ - rng.integers(1, 50) * step_s
        playback = Playback(iter([Phrase("bot", start_s, 0), Phrase("bot", 99.0, 0)]), bank)
        assert playback(first_s, step_s, 100).any()
