"""What sweeps say of the offset between two tracks: the stated error covers the true one."""

import math
import re
import wave
from statistics import median

import numpy as np
import pytest

from edgerec.audio import TRACKS
from edgerec.config import Config, TrackConfig, TracksConfig
from edgerec.doctor.alignment import (
    ALIGNMENT_SWEEPS,
    FRAME_MS,
    LEAD_S,
    MOVED_MS,
    PERIOD_S,
    RATE_HZ,
    SWEEP_S,
    SWEEPS,
    HeardSweep,
    delay,
    find_sweeps,
    length_s,
    sweep,
    write_sweeps,
)
from edgerec.doctor.sound_check import SoundCheck, judge_alignment
from edgerec.simulation.device import DeviceModel
from tests.campaigns.synchronisation import devices
from tests.rigs.alignment import noise
from tests.rigs.virtual_kiosk import RATE, steps

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


STATED_MS = 0.7
LATER = re.compile(
    r"the (\w+) track is ([\d.]+) ms later than the \w+ track, give or take ([\d.]+)"
)


def heard(*offs_ms, clarity=0.5):
    """Sweeps of which each is off by so much."""
    return [
        HeardSweep(3.0 + PERIOD_S * n + off_ms / 1e3, clarity, -20.0)
        for n, off_ms in enumerate(offs_ms)
    ]


def judged(user, bot=None, apart_ms=STATED_MS, bot_offset_ms=0.0):
    """Return the last finding, which is the alignment's."""
    tracks = TracksConfig(
        user=TrackConfig(device="alsa:Mic,0", offset_ms=2.5),
        bot=TrackConfig(device="pulse:spk.monitor", offset_ms=bot_offset_ms),
    )
    bot = heard(*[0.0] * ALIGNMENT_SWEEPS, clarity=1.0) if bot is None else bot
    check = SoundCheck({"user": user, "bot": bot}, ALIGNMENT_SWEEPS, apart_ms)
    *_, last = judge_alignment(Config(tracks=tracks), check)
    assert last.area == "alignment"
    assert last.fix or last.severity == "ok"
    return last


def test_the_offset_is_the_median_and_its_error_holds_all_that_is_unknown():
    last = judged(heard(60.0, 60.1, 60.1, 60.2, 60.1, 60.1, 60.1))
    assert last.severity == "note"
    later, ms, error_ms = LATER.match(last.told).groups()
    assert (later, float(ms)) == ("user", 60.1)
    assert float(error_ms) == pytest.approx(0.2 + FRAME_MS + STATED_MS, abs=0.01)
    assert "7 sweeps over 15.0 s, 0.20 ms between them" in last.told
    assert "set tracks.user.offset_ms to 62.6 (it is 2.5)" in last.fix


def test_a_loopback_that_is_later_is_the_one_that_is_moved():
    last = judged(heard(*[-40.0] * ALIGNMENT_SWEEPS), bot_offset_ms=-3.0)
    assert LATER.match(last.told).groups()[:2] == ("bot", "40.00")
    assert "set tracks.bot.offset_ms to 37 (it is -3)" in last.fix


def test_an_offset_that_may_be_the_places_of_the_tracks_is_to_be_measured_again_first():
    """Behind PipeWire both tracks of cards have the doubt of a cycle, which stays the same."""
    last = judged(heard(*[30.0] * ALIGNMENT_SWEEPS), apart_ms=85.0)
    assert last.severity == "note"
    assert last.fix.startswith(
        "restart what plays, measure again, and where it comes out alike, set"
    )
    assert "tracks.user.offset_ms to 32.5" in last.fix


def test_an_offset_within_what_the_sweeps_scatter_is_none():
    off_ms = [1.9, 0.9, 0.0, -0.9, 0.9, 1.8, 1.7]
    assert judged(heard(*off_ms)).severity == "warning"
    off_ms = [2.2, 1.5, 0.8, 0.1, 0.9, 1.6, 2.3]
    assert (judged(heard(*off_ms)).severity, judged(heard(*off_ms)).fix) == ("ok", "")


def test_less_than_a_millisecond_needs_no_offset_even_by_a_cable():
    last = judged(heard(*[0.5] * ALIGNMENT_SWEEPS, clarity=1.0))
    assert (last.severity, last.fix) == ("ok", "")


@pytest.mark.parametrize("by_ms", [1.1 * MOVED_MS, -1.1 * MOVED_MS])
def test_a_track_that_moved_is_told_with_the_moment_and_no_offset_is_offered(by_ms):
    last = judged(heard(60, 60, 60, *[60 + by_ms] * 4))
    assert last.severity == "warning"
    told = f"7.5 s after the first sweep the user track was {by_ms:+.2f} ms later"
    assert told in last.told
    assert "offset_ms to" not in last.fix


def test_less_than_half_of_the_sweeps_say_nothing():
    assert "both tracks have 3 of 7" in judged(heard(60, 60, 60)).told
    assert "both tracks have 0 of 7" in judged([]).told
    assert LATER.match(judged(heard(60, 60, 60, 60)).told)


def test_tracks_that_do_not_state_their_error_leave_the_offset_s_unknown():
    last = judged(heard(*[60] * ALIGNMENT_SWEEPS), apart_ms=math.inf)
    assert (last.severity, "did not state" in last.told) == ("warning", True)


def sweeps_from(start_s):
    """A world in which the sweeps are played once, from that second on."""
    one = sweep()
    sound = np.zeros(round(length_s(ALIGNMENT_SWEEPS) * RATE_HZ))
    for nth in range(ALIGNMENT_SWEEPS):
        first = round((LEAD_S + nth * PERIOD_S) * RATE_HZ)
        sound[first : first + len(one)] = one
    at_s = start_s + np.arange(len(sound)) / RATE_HZ

    def played(first_s, step_s, frames):
        instants_s = first_s + step_s * np.arange(frames)
        return np.interp(instants_s, at_s, sound, 0.0, 0.0).astype(np.float32)

    return lambda _track: played


QUIET = (DeviceModel(drift_ppm=60, jitter_ms=0.2), DeviceModel(drift_ppm=-40, jitter_ms=0.2))


@pytest.mark.parametrize("later_ms", [0.0, 12.3, -37.4])
@pytest.mark.parametrize("kiosk", [QUIET, devices()], ids=["quiet", "busy"])
def test_on_the_virtual_kiosk_the_stated_error_covers_the_true_one(kiosk, later_ms):
    """One device's constant latency is greater; both drift, and come late."""
    user_ms, bot_ms = 5.0 + max(later_ms, 0.0), 5.0 + max(-later_ms, 0.0)
    user, bot = (
        DeviceModel(
            drift_ppm=model.drift_ppm,
            jitter_ms=model.jitter_ms,
            faults=model.faults,
            latency_ms=latency_ms,
        )
        for model, latency_ms in zip(kiosk, (user_ms, bot_ms), strict=True)
    )
    pcm, apart_ms = [], []
    for step in steps(user, bot, length_s(ALIGNMENT_SWEEPS) + 6.0, world=sweeps_from(3.0)):
        pcm.append(step.span.pcm)
        apart_ms.append(sum(one.residual_us or 0.0 for one in step.reports.values()) / 1e3)
    samples = np.concatenate(pcm, axis=1)
    heard = {
        track: find_sweeps(samples[n], RATE, ALIGNMENT_SWEEPS) for n, track in enumerate(TRACKS)
    }
    assert delay(heard["user"], heard["bot"]).sweeps == ALIGNMENT_SWEEPS
    told = judged(heard["user"], heard["bot"], median(apart_ms)).told
    later, ms, error_ms = LATER.match(told).groups()
    measured_ms = float(ms) if later == "user" else -float(ms)
    assert abs(measured_ms - later_ms) <= float(error_ms), told
