"""The echo's delay and path, found from both tracks alone, while the user may speak too."""

import numpy as np
import pytest

from edgerec.audio import EchoReport
from edgerec.turns.bands import FRAME, RATE_HZ
from edgerec.turns.echo import EchoPath

BATCH = 5 * FRAME


def speechlike(rng, seconds):
    """Noise whose level goes up and down four times a second, with pauses."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    loud = np.maximum(0, np.sin(2 * np.pi * 2 * at + rng.uniform(0, 6))) * (at % 4 < 3)
    return (0.1 * rng.standard_normal(len(at)) * loud).astype(np.float32)


def room(rng, delay_s, return_db, rt60_s=0.25):
    tail = np.arange(int(rt60_s * RATE_HZ))
    response = rng.standard_normal(len(tail)) * np.exp(-6.91 * tail / len(tail))
    response /= np.sqrt(np.sum(response**2))
    response[0] += 1
    response *= 10 ** (return_db / 20) / np.sqrt(np.sum(response**2))
    return np.concatenate([np.zeros(int(delay_s * RATE_HZ)), response]).astype(np.float32)


def through(path, played, heard):
    rest = np.zeros_like(heard)
    for start in range(0, len(played) - BATCH + 1, BATCH):
        piece = slice(start, start + BATCH)
        rest[piece] = path.cancel(played[piece], heard[piece]).rest
    return rest


def db(samples):
    return 10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("delay_s", [0.02, 0.09, 0.2])
@pytest.mark.parametrize("return_db", [-6.0, -20.0])
def test_delay_and_return_are_reported_and_the_echo_is_taken_away(rng, delay_s, return_db):
    played = speechlike(rng, 30)
    echo = np.convolve(played, room(rng, delay_s, return_db))[: len(played)].astype(np.float32)
    path = EchoPath()
    rest = through(path, played, echo + 1e-4 * rng.standard_normal(len(played), np.float32))
    assert path.report.delay_ms == pytest.approx(delay_s * 1e3, abs=2)
    assert path.report.return_db == pytest.approx(return_db, abs=1.5)
    late = slice(-10 * RATE_HZ, -RATE_HZ)
    # 20 dB of a loud echo, and of a faint one as much as the noise leaves to be seen.
    assert db(rest[late]) < max(db(echo[late]) - 15, -75)


def test_a_user_who_speaks_over_the_bot_is_kept_and_does_not_unlearn_the_echo(rng):
    played = speechlike(rng, 60)
    echo = np.convolve(played, room(rng, 0.05, -6))[: len(played)].astype(np.float32)
    user = np.zeros_like(played)
    over = slice(40 * RATE_HZ, 45 * RATE_HZ)
    user[over] = 0.5 * speechlike(np.random.default_rng(8), 5)
    rest = through(EchoPath(), played, echo + user)
    assert db(rest[over]) == pytest.approx(db(user[over]), abs=1)
    after = slice(46 * RATE_HZ, 59 * RATE_HZ)
    assert db(rest[after]) < db(echo[after]) - 15


def test_a_microphone_that_does_not_hear_the_bot_has_no_echo_to_report(rng):
    path = EchoPath()
    heard = speechlike(np.random.default_rng(9), 40)
    rest = through(path, speechlike(rng, 40), heard)
    assert path.report.delay_ms is None
    assert path.report.return_db is None
    assert db(rest) == pytest.approx(db(heard), abs=0.5)


def test_a_muted_microphone_tells_of_no_echo(rng):
    played = speechlike(rng, 10)
    path = EchoPath()
    through(path, played, np.zeros_like(played))
    assert not path.locked
    assert path.report == EchoReport()


def test_a_microphone_muted_as_its_echo_is_found_has_none_to_report(rng):
    played = speechlike(rng, 20)
    echo = np.convolve(played, room(rng, 0.05, -6))[: len(played)].astype(np.float32)
    path = EchoPath()
    for start in range(0, len(played) - BATCH + 1, BATCH):
        piece = slice(start, start + BATCH)
        path.cancel(played[piece], echo[piece] * (not path.locked))
        assert path.report.return_db is None or np.isfinite(path.report.return_db)
    assert path.locked
    assert path.report == EchoReport()


def test_a_device_that_comes_back_later_is_found_again(rng):
    played = speechlike(rng, 60)
    early = np.convolve(played, room(rng, 0.03, -6))[: len(played)]
    late = np.convolve(played, room(rng, 0.12, -6))[: len(played)]
    moved = np.arange(len(played)) > 25 * RATE_HZ
    path = EchoPath()
    rest = through(path, played, np.where(moved, late, early).astype(np.float32))
    assert path.report.delay_ms == pytest.approx(120, abs=2)
    last = slice(-10 * RATE_HZ, -RATE_HZ)
    assert db(rest[last]) < db(late[last]) - 15


def test_what_is_taken_apart_adds_up(rng):
    played = speechlike(rng, 10)
    heard = (0.3 * played + 1e-3 * rng.standard_normal(len(played))).astype(np.float32)
    path = EchoPath()
    for start in range(0, len(played) - BATCH + 1, BATCH):
        piece = slice(start, start + BATCH)
        parts = path.cancel(played[piece], heard[piece])
        assert np.allclose(parts.rest + parts.echo, heard[piece], atol=1e-6)
