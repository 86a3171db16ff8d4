import math
import wave

import numpy as np
import pytest

from edgerec.doctor.sweep import (
    LEAD_S,
    PERIOD_S,
    RATE_HZ,
    SWEEP_S,
    SWEEPS,
    delay,
    find_sweeps,
    sweep,
    write_sweeps,
)
from tests.rigs.alignment import noise

LENGTH_S = 15.0


def recording(at_s, gain=1.0, room=0.0, seed=1):
    """Sweeps that begin at these seconds, in a room that is so loud (peak)."""
    heard = np.zeros(round(LENGTH_S * RATE_HZ))
    one = sweep()
    for start_s in at_s:
        first = round(start_s * RATE_HZ)
        heard[first : first + len(one)] += gain * one
    heard += 2 * room * noise(len(heard), RATE_HZ, seed)
    return np.clip(np.rint(heard * 32_768), -32_768, 32_767).astype(np.int16)


STARTS_S = [3.0, 5.5, 8.0]


def test_sweeps_are_found_to_the_sample_with_their_level():
    found = find_sweeps(recording(STARTS_S), RATE_HZ)
    assert [one.at_s for one in found] == STARTS_S
    assert all(one.clarity > 0.999 for one in found)
    rms = 20 * math.log10(math.sqrt(np.mean(sweep() ** 2)))
    assert all(one.rms_dbfs == pytest.approx(rms, abs=0.1) for one in found)


def test_sweeps_far_below_the_room_are_found():
    found = find_sweeps(recording(STARTS_S, gain=0.1, room=0.3), RATE_HZ)
    assert [one.at_s for one in found] == pytest.approx(STARTS_S, abs=1e-4)
    assert all(one.clarity < 0.5 for one in found)
    loud = find_sweeps(recording(STARTS_S), RATE_HZ)[0].rms_dbfs
    assert all(one.rms_dbfs == pytest.approx(loud - 20, abs=1.0) for one in found)


@pytest.mark.parametrize("seed", range(5))
def test_no_sweep_is_found_where_none_was_played(seed):
    assert find_sweeps(recording([], room=0.3, seed=seed), RATE_HZ) == []
    assert find_sweeps(recording([]), RATE_HZ) == []
    assert find_sweeps(np.zeros(10, np.int16), RATE_HZ) == []


def test_a_tone_is_no_sweep():
    t = np.arange(round(LENGTH_S * RATE_HZ)) / RATE_HZ
    tone = (10_000 * np.sin(2 * np.pi * 1_000 * t)).astype(np.int16)
    found = find_sweeps(tone, RATE_HZ)
    assert all(one.clarity < 0.3 for one in found)


def test_the_delay_is_that_of_most_sweeps_and_comes_with_its_spread():
    bot = find_sweeps(recording(STARTS_S), RATE_HZ)
    user = find_sweeps(recording([at + 0.0807 for at in STARTS_S], gain=0.3, room=0.05), RATE_HZ)
    found = delay(user, bot)
    assert found.ms == pytest.approx(80.7, abs=0.1)
    assert found.spread_ms < 0.1
    assert abs(found.drift_ppm) < 20  # a sample in five seconds is 4
    drifting = find_sweeps(recording([at * (1 + 200e-6) for at in STARTS_S]), RATE_HZ)
    assert delay(drifting, bot).drift_ppm == pytest.approx(200, abs=10)


def test_tracks_without_the_same_sweeps_have_no_delay():
    bot = find_sweeps(recording(STARTS_S), RATE_HZ)
    assert delay([], bot) is None
    assert delay(bot[:1], bot) is None


def test_the_file_that_is_played_has_all_sweeps_behind_silence(tmp_path):
    write_sweeps(tmp_path / "sweeps.wav")
    with wave.open(str(tmp_path / "sweeps.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert not samples[: round(LEAD_S * RATE_HZ)].any()
    found = find_sweeps(samples, RATE_HZ)
    assert [one.at_s for one in found] == [LEAD_S + n * PERIOD_S for n in range(SWEEPS)]
    assert len(samples) >= (found[-1].at_s + SWEEP_S) * RATE_HZ
