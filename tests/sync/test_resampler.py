import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import DeviceFrame, TimelineFrame
from edgerec.sync.resampler import FADE_PERIODS, WARM_UP_PERIODS, Fold, Line, Resampler

RATE = 16_000
TONE_HZ = 1_000.0
LEVEL = 29_000.0  # -1 dBFS at int16 scale


def line(device: int, timeline: int, ratio: float) -> Line:
    return Line(DeviceFrame(device), TimelineFrame(timeline), ratio)


def tone(device_frames: np.ndarray, device_rate: float) -> np.ndarray:
    return (LEVEL * np.sin(2 * np.pi * TONE_HZ * device_frames / device_rate)).astype(np.float32)


def resampled(bends: list[Line], stop: int, piece: int = 3_200) -> np.ndarray:
    """Feed a tone of nominal 48 kHz through lines; return the timeline from the first line on."""
    first = bends[0]
    resampler = Resampler(RATE, first)
    waiting, out = bends[1:], []
    for start in range(first.device, stop, piece):
        frames = np.arange(start, min(start + piece, stop))
        if waiting and not resampler.bending and start + piece > waiting[0].device:
            resampler.bend(waiting.pop(0))
        out.append(resampler.write(tone(frames, 48_000)))
    out.append(resampler.finish())
    assert resampler.next == first.timeline + sum(map(len, out))
    return np.concatenate(out)


def ideal(lines: list[Line], frames: int) -> np.ndarray:
    """Return what the tone is along the lines, and along the crossfades between them."""
    timeline = np.arange(lines[0].timeline, lines[0].timeline + frames)

    def along(on: Line) -> np.ndarray:
        return LEVEL * np.sin(2 * np.pi * TONE_HZ * on.device_at(timeline) / 48_000)

    samples = along(lines[0])
    for bend in lines[1:]:
        new = np.clip((timeline - bend.timeline - WARM_UP_PERIODS) / FADE_PERIODS, 0, 1)
        samples += (along(bend) - samples) * new
    return samples


def snr_db(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).mean() / ((got - wanted) ** 2).mean()))


def test_the_two_lines_of_a_steady_clock_are_nanoseconds_apart_where_they_are_crossfaded():
    late_ns = (WARM_UP_PERIODS + FADE_PERIODS) / RATE * 1e9 * 1e-6  # 1 ppm, until the fade's end
    assert late_ns < 25


EDGE = 200  # HQ's transients at a run's ends last 66 frames

TEN_SECONDS = 10 * RATE
BENDS = [
    line(0, 0, 3.0),
    line(3 * TEN_SECONDS, TEN_SECONDS, 3.000_003),  # 1 ppm: what a steady clock brings
    line(6 * TEN_SECONDS, 2 * TEN_SECONDS, 3.000_3),  # 100 ppm: while the clock is found
]
# The joints are lattice points, and the second line was made to end on one.
BENDS[2] = line(round(BENDS[1].device_at(2 * TEN_SECONDS)), 2 * TEN_SECONDS, 3.000_3)
BENDS[1] = line(3 * TEN_SECONDS, TEN_SECONDS, (BENDS[2].device - 3 * TEN_SECONDS) / TEN_SECONDS)


def test_a_tone_passes_two_bends_without_a_click():
    """90 dB in every 10 ms, the bends' crossfades among them."""
    stop = BENDS[2].device + 3 * TEN_SECONDS
    got = resampled(BENDS, stop)
    wanted = ideal(BENDS, len(got))
    for start in range(EDGE, len(got) - EDGE - 160, 160):
        piece = slice(start, start + 160)
        assert snr_db(got[piece], wanted[piece]) > 90, f"at frame {start}"


def test_a_run_is_as_long_as_its_line_says():
    for frames in (4_801, 48_000, 96_003):
        got = resampled([line(0, 7, 3.000_1)], frames)
        assert abs(len(got) - frames / 3.000_1) <= 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=20), st.integers(0, 40_000))
def test_how_the_input_is_cut_changes_nothing_but_when_output_comes(pieces, joint):
    """A bend needs both streams past its fade: however little comes at once, it is found."""
    total = sum(pieces)
    whole = Resampler(RATE, line(0, 0, 1.0))
    cut = Resampler(RATE, line(0, 0, 1.0))
    for resampler in (whole, cut):
        resampler.bend(line(joint, joint, 1.000_01))
    samples = np.random.default_rng(1).normal(0, 3_000, total).astype(np.float32)
    expected = np.concatenate((whole.write(samples), whole.finish()))
    out, start = [], 0
    for piece in pieces:
        out.append(cut.write(samples[start : start + piece]))
        start += piece
    out.append(cut.finish())
    got = np.concatenate(out)
    assert len(got) == len(expected)
    # soxr's blocks differ with the pieces: float32 at int16 scale keeps 7 digits.
    assert np.abs(got - expected).max() < 0.1


def test_a_bend_behind_what_was_fed_is_refused_and_so_is_a_second_one():
    resampler = Resampler(RATE, line(0, 0, 3.0))
    resampler.write(np.zeros(4_800, np.float32))
    with pytest.raises(ValueError, match="cannot bend"):
        resampler.bend(line(4_797, 1_599, 3.0))
    resampler.bend(line(9_600, 3_200, 3.0))
    with pytest.raises(ValueError, match="cannot bend"):
        resampler.bend(line(14_400, 4_800, 3.0))


def test_silence_stays_exactly_zero():
    resampler = Resampler(RATE, line(0, 0, 3.000_1))
    out = [resampler.write(np.zeros(48_000, np.float32)), resampler.finish()]
    assert not np.concatenate(out).any()


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
