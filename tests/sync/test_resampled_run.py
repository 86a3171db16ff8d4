import math

import numpy as np
import pytest

from edgerec.audio import DeviceFrame, GapReason, TimelineFrame
from edgerec.sync.device_clock import DeviceClock
from edgerec.sync.device_stream import Piece
from edgerec.sync.history import History
from edgerec.sync.placement import Pauses, Placement
from edgerec.sync.resampled_run import (
    FIRST_SEGMENT_S,
    LINE_TRUST_S,
    MAX_BEND,
    SEGMENT_S,
    Guide,
    Run,
    line_between,
    to_int16,
)
from edgerec.sync.resampler import Fold, Line, Resampler

RATE = 16_000
EPOCH_NS = 10**12


def punctual_clock(rate: int, ppm: float, seconds: float, offset_s: float = 0.0) -> DeviceClock:
    """Return the clock of a device that began at the epoch (plus `offset_s`)."""
    clock = DeviceClock(rate)
    for end in range(rate // 10, round(seconds * rate), rate // 10):
        clock.observe(
            DeviceFrame(end), round(EPOCH_NS + (offset_s + end / rate / (1 + ppm * 1e-6)) * 1e9)
        )
    return clock


def placement(capacity: int = 10 * RATE) -> Placement:
    return Placement(EPOCH_NS, RATE, History(capacity), index=0, pauses=Pauses())


@pytest.mark.parametrize("ppm", [0.0, 7.0, -43.0, 200.0])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_line_ends_on_a_lattice_point_close_to_the_clocks_line(rate, ppm):
    guide = Guide(punctual_clock(rate, ppm, 100), placement())
    device, timeline = guide.first_joint(DeviceFrame(0), None)
    for _ in range(5):
        device, timeline = guide.next_joint((device, timeline))
        off = abs(device - guide.device_at(timeline))
        assert off <= 0.5  # of a device frame: it is one
        if abs(ppm) >= 20:
            assert off < 0.01  # the clock's line crosses many lattice points within reach


def test_lines_are_short_while_little_is_known_and_never_long():
    for known_s, expected_s in ((2, FIRST_SEGMENT_S), (40, 10), (400, SEGMENT_S)):
        guide = Guide(punctual_clock(48_000, 87, known_s), placement())
        _, stop = guide.next_joint((DeviceFrame(0), TimelineFrame(0)))
        assert stop / RATE == pytest.approx(expected_s, rel=0.25)


def test_a_misplaced_run_is_brought_back_no_faster_than_ears_allow():
    guide = Guide(punctual_clock(48_000, 0, 100), placement())
    far_off = (DeviceFrame(0), TimelineFrame(RATE))  # a whole second late
    line = line_between(far_off, guide.next_joint(far_off))
    assert line.ratio == pytest.approx(3 * (1 + MAX_BEND), rel=1e-6)


def test_a_run_starts_on_its_first_frame_or_just_behind_it():
    guide = Guide(punctual_clock(48_000, 87, 100), placement())
    for first in range(1_000_000, 1_000_020):
        device, timeline = guide.first_joint(DeviceFrame(first), None)
        assert first <= device <= first + 3
        assert abs(device - guide.device_at(timeline)) <= 0.5


def test_nothing_starts_before_the_epoch():
    guide = Guide(punctual_clock(48_000, 0, 10, offset_s=-2.0), placement())
    device, timeline = guide.first_joint(DeviceFrame(0), None)
    assert (timeline, device) == (0, pytest.approx(2 * 48_000, abs=1))


@pytest.mark.parametrize(("hole_s", "along_line"), [(LINE_TRUST_S / 2, True), (60.0, False)])
def test_a_short_hole_is_as_long_as_the_line_before_it_counts_a_long_one_as_the_clock(
    hole_s, along_line
):
    """The run before lies 1 ms late, as one does while it is brought back."""
    guide = Guide(punctual_clock(48_000, 0, 100), placement())
    before = Resampler(RATE, Line(DeviceFrame(0), TimelineFrame(16), 3.0))
    before.write(np.zeros(48_000, np.float32))
    first = DeviceFrame(48_000 + round(hole_s * 48_000))
    _, timeline = guide.first_joint(first, before)
    assert timeline == first // 3 + (16 if along_line else 0)


def test_samples_past_full_scale_saturate():
    loud = np.array([40_000.0, -40_000.0, 0.4, -0.6], np.float32)
    assert to_int16(loud).tolist() == [32_767, -32_768, 0, -1]


def test_a_run_places_its_audio_from_its_joint_on_and_names_the_silence_before():
    clock = punctual_clock(16_000, 0, 10)
    place = placement()
    guide = Guide(clock, place)
    start = guide.first_joint(DeviceFrame(1_000), None)
    run = Run(guide, place, start, Fold(1), before=GapReason.XRUN)
    pcm = np.full(8_000, 5_000, dtype="<i2").tobytes()
    run.write(Piece(DeviceFrame(1_000), 8_000, pcm, None, arrived_ns=0))
    run.finish()
    assert place.end == start[1] + 9_000 - start[0]
    other = place._history
    other.silence(1, place.end, GapReason.QUIET)
    other.commit(place.end)
    span = other.read(TimelineFrame(0), place.end)
    assert (span.reasons[0, : start[1]] == GapReason.XRUN).all()
    assert not span.reasons[0, start[1] :].any()
    middle = span.pcm[0, start[1] + 200 : place.end - 200]
    assert (np.abs(middle - 5_000) <= 1).all()


@pytest.mark.parametrize("seconds", [0.3, 0.45, 0.5, 0.7, 0.9, 1.1, 2.0, 10.0])
@pytest.mark.parametrize("rate", [4_000, 48_000])
def test_blocks_of_any_length_are_placed_along_lines_that_bend_every_second(rate, seconds):
    place = placement(capacity=60 * RATE)
    clock = punctual_clock(rate, 150, 5)  # little is known: lines are short
    guide = Guide(clock, place)
    run = Run(guide, place, guide.first_joint(DeviceFrame(0), None), Fold(1), GapReason.STALL)
    frames = round(seconds * rate)
    pcm = np.full(frames, 5_000, dtype="<i2").tobytes()
    for nth in range(math.ceil(30 / seconds)):
        run.write(Piece(DeviceFrame(nth * frames), frames, pcm, None, arrived_ns=0))
    run.finish()
    written = frames * math.ceil(30 / seconds)
    assert place.end == pytest.approx(guide.timeline_at(written), abs=2 * RATE / rate)
    assert run.astray_s < 1 / rate


def test_a_joint_reached_in_a_crossfade_is_moved_on_along_its_line():
    """A fade as long as any that soxr made at 4 kHz, at every other joint."""
    place = placement(capacity=60 * RATE)
    guide = Guide(punctual_clock(4_000, 150, 1), place)
    run = Run(guide, place, guide.first_joint(DeviceFrame(0), None), Fold(1), GapReason.STALL)
    bends, write = [], run.resampler.bend

    def slow_bend(line):
        write(line)
        bends.append(line.timeline / RATE)
        run.resampler._bend.fade_start += RATE

    run.resampler.bend = slow_bend
    pcm = np.full(400, 5_000, dtype="<i2").tobytes()
    for nth in range(200):
        run.write(Piece(DeviceFrame(nth * 400), 400, pcm, None, arrived_ns=0))
        run.go_on()
    run.finish()
    assert place.end == pytest.approx(guide.timeline_at(80_000), abs=8)
    assert run.astray_s < 1 / 4_000
    assert min(np.diff(bends)) > 1.2  # a fade lasts longer than a line of a second
