"""The whole way onto the timeline, on virtual devices whose truth is known."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import TRACKS, Gap, GapReason, TimelineFrame, TrackName, TrackReport
from edgerec.simulation.conversation import tone
from edgerec.simulation.device import Absence, DeviceModel, Fault, Loss, Stall
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.sync.history import History
from edgerec.sync.resampled_run import BATCH_S
from edgerec.sync.synchronizer import STEP_S, Synchronizer, TrackPlan, history_frames
from edgerec.sync.track import MAX_REMEMBERED
from tests.rigs.virtual_kiosk import LATE_S, RATE, START_NS, TICK_NS, steps

PLAIN = TrackPlan()
SOUND = tone(1_000.0, -6.0)  # never silent for long: silence is what was placed for it


@dataclass
class Recorded:
    """A timeline as its readers got it, and the gaps by track."""

    pcm: np.ndarray
    reasons: np.ndarray
    reports: Mapping[TrackName, TrackReport]
    steps: list[int] = field(default_factory=list)
    """Frames committed by each advance."""

    def gaps(self, track: TrackName) -> list[Gap]:
        codes = self.reasons[TRACKS.index(track)]
        edges = np.flatnonzero(np.diff(codes)) + 1
        bounds = [0, *edges.tolist(), len(codes)]
        return [
            Gap(TimelineFrame(start), stop - start, GapReason(codes[start]))
            for start, stop in pairwise(bounds)
            if stop > start and codes[start]
        ]


def record(
    user: DeviceModel,
    bot: DeviceModel,
    seconds: float,
    *,
    tracks: Iterable[TrackName] = TRACKS,
    user_plan: TrackPlan = PLAIN,
) -> Recorded:
    plans = dict.fromkeys(tracks, PLAIN) | {"user": user_plan}
    taken = list(steps(user, bot, seconds, world=SOUND, plans=plans))
    return Recorded(
        np.concatenate([step.span.pcm for step in taken], axis=1),
        np.concatenate([step.span.reasons for step in taken], axis=1),
        taken[-1].reports,
        [step.span.frames for step in taken],
    )


def device(*events: Fault, **model: float) -> DeviceModel:
    return DeviceModel(**{"sample_rate": 16_000, "events": events, **model})


def inner(gaps: list[Gap], recorded: Recorded) -> list[Gap]:
    """Return the gaps but for the padding behind the shorter track's end."""
    return [gap for gap in gaps if gap.start + gap.frames < recorded.pcm.shape[1]]


def test_two_devices_without_faults_have_no_gap_and_equal_length():
    recorded = record(device(drift_ppm=200), device(drift_ppm=-200), 20)
    assert recorded.pcm.shape[1] == pytest.approx(20 * RATE, abs=0.2 * RATE)
    assert inner(recorded.gaps("user"), recorded) == []
    assert inner(recorded.gaps("bot"), recorded) == []


def test_how_a_devices_channels_fit_together_is_reported():
    """The virtual device has the same on both of its channels."""
    recorded = record(device(channels=2), device(), 20)
    assert recorded.reports["user"].fold_gain_db == pytest.approx(10 * math.log10(2), abs=0.1)
    assert recorded.reports["bot"].fold_gain_db is None


@pytest.mark.parametrize("frames", [1, 7, 480, 8_000])
def test_a_counted_loss_is_a_gap_of_that_length_in_its_own_track_only(frames):
    recorded = record(device(Loss(12.0, frames)), device(), 20)
    (gap,) = inner(recorded.gaps("user"), recorded) or [Gap(TimelineFrame(0), 0, GapReason.XRUN)]
    assert abs(gap.frames - frames) <= 1  # the device's frames lie between the timeline's
    assert gap.reason is GapReason.XRUN
    assert inner(recorded.gaps("bot"), recorded) == []


@pytest.mark.parametrize("frames", [160, 1_600])
def test_an_uncounted_loss_is_found_and_shifts_nothing(frames):
    """What comes behind the loss is where it belongs: the tone's phase goes on."""
    recorded = record(device(Loss(12.0, frames, counted=False)), device(), 20)
    (gap,) = inner(recorded.gaps("user"), recorded)
    assert abs(gap.frames - frames) <= 1
    before, after = (
        recorded.pcm[0, start : start + 1_600].astype(int)
        for start in (gap.start - 3_200, gap.start + gap.frames + 3_200)
    )
    shift = (gap.frames + 6_400) % 16  # of a tone of 16 frames
    assert np.abs(np.roll(before, -shift) - after)[20:-20].max() < 400  # of 16,384


@pytest.mark.parametrize("stall_s", [0.1, 0.5, LATE_S])
def test_a_stall_that_is_caught_up_in_time_inserts_and_loses_nothing(stall_s):
    recorded = record(device(Stall(12.0, stall_s)), device(), 20)
    assert inner(recorded.gaps("user"), recorded) == []
    assert recorded.reports["user"].late_frames == 0


def test_what_is_caught_up_too_late_is_dropped_counted_and_shifts_nothing():
    stall_s = LATE_S + 1.0
    recorded = record(device(Stall(12.0, stall_s)), device(), 20)
    (gap,) = inner(recorded.gaps("user"), recorded)
    assert gap.reason is GapReason.STALL
    # Committed as silence is what was not there LATE_S (and a block) after it was due.
    assert gap.frames / RATE == pytest.approx(stall_s - LATE_S, abs=0.25)
    # The resampler starts anew behind the silence and so may count a frame less.
    assert abs(recorded.reports["user"].late_frames - gap.frames) <= 2
    assert inner(recorded.gaps("bot"), recorded) == []
    after = recorded.pcm[:, gap.start + gap.frames + 1_600 :][:, :1_600].astype(int)
    assert np.abs(after[0] - after[1]).max() < 400  # both hear the same tone at the same instant


def test_one_stalled_track_never_holds_the_other_back():
    recorded = record(device(Loss(5.0, 10 * 16_000, counted=False)), device(), 20)
    stall, loss = inner(recorded.gaps("user"), recorded)
    # Silence goes on while it is decided that nothing will be caught up.
    assert (stall.reason, loss.reason) == (GapReason.STALL, GapReason.XRUN)
    assert abs(stall.frames + loss.frames - 10 * RATE) <= 1
    assert max(recorded.steps) < 2 * LATE_S * RATE  # committed all the while


@pytest.mark.parametrize("new_rate", [None, 44_100, 48_000])
def test_a_reopened_device_goes_on_on_the_same_timeline(new_rate):
    recorded = record(device(Absence(8.0, 5.0, new_rate)), device(), 20)
    gaps = inner(recorded.gaps("user"), recorded)
    assert {gap.reason for gap in gaps} == {GapReason.ABSENT}
    assert sum(gap.frames for gap in gaps) / RATE == pytest.approx(5.0, abs=0.11)
    after = recorded.pcm[:, 15 * RATE :][:, :1_600].astype(int)
    assert np.abs(after[0] - after[1]).max() < 400


def test_a_track_without_a_source_is_off_and_as_long_as_the_other():
    recorded = record(device(), device(), 5, tracks=["user"])
    (gap,) = recorded.gaps("bot")
    assert (gap.start, gap.frames, gap.reason) == (0, recorded.pcm.shape[1], GapReason.OFF)
    assert recorded.reports["bot"] == TrackReport()


def test_a_hole_of_hours_is_committed_in_bounded_steps():
    recorded = record(device(Absence(5.0, 7_200.0)), device(Absence(5.0, 7_200.0)), 7_220)
    assert recorded.pcm.shape[1] / RATE == pytest.approx(7_220, abs=0.3)
    assert max(recorded.steps) <= STEP_S * RATE + LATE_S * RATE
    assert sum(gap.frames for gap in recorded.gaps("user")) / RATE == pytest.approx(7_200, abs=0.2)


def test_a_devices_configured_lateness_moves_its_track_earlier():
    recorded = record(
        device(latency_ms=25), device(latency_ms=5), 10, user_plan=TrackPlan(offset_ms=20)
    )
    both = recorded.pcm[:, 5 * RATE :][:, :1_600].astype(int)
    assert np.abs(both[0] - both[1]).max() < 100


def test_a_track_that_is_placed_later_is_committed_as_steadily():
    """Its audio lies in the future: what is not committed by now dies with a kill."""
    recorded = record(device(), device(), 20, user_plan=TrackPlan(offset_ms=-1_000))
    settled = recorded.steps[len(recorded.steps) // 2 : -1]  # the last one is the end
    block_s = tick_s = 0.1
    assert max(settled) <= (BATCH_S + block_s + tick_s) * RATE


def test_tracks_that_are_placed_later_have_delivered_an_instant_no_sooner_than_it_is_over():
    plans = {"user": TrackPlan(offset_ms=-1_000), "bot": TrackPlan(offset_ms=-500)}
    assert Synchronizer(plans, late_s=LATE_S, drift_memory={}).longest_offset_ns == 0


def test_a_frame_count_that_goes_back_restarts_the_stream_and_not_the_recorder(caplog):
    synchronizer = Synchronizer({"user": TrackPlan()}, late_s=LATE_S, drift_memory={})
    kiosk = VirtualKiosk(device(), device(), seed=1, world=SOUND)
    deliveries = [d for track, d in kiosk.deliveries(4) if track == "user"]
    for delivery in deliveries:
        synchronizer.deliver("user", delivery)
    synchronizer.begin(START_NS, RATE, History(history_frames(RATE, 5)))
    synchronizer.advance(START_NS + 4_000_000_000)
    synchronizer.deliver("user", deliveries[1])  # the first block once more
    assert "continues after a gap" in caplog.text
    assert "ended at" in caplog.text


def test_the_report_of_a_device_that_went_away_still_says_which_it_was():
    recorded = record(device(Absence(8.0, 60.0), drift_ppm=50), device(), 12)
    report = recorded.reports["user"]
    assert (report.device, report.drift_ppm) == ("simulated:user", pytest.approx(50, abs=2))


def test_memory_of_a_drift_is_kept_by_device():
    memory: dict[str, float] = {}
    synchronizer = Synchronizer({"user": TrackPlan()}, late_s=LATE_S, drift_memory=memory)
    kiosk = VirtualKiosk(device(Absence(100.0, 1.0), drift_ppm=87), device(), seed=1, world=SOUND)
    for track, delivery in kiosk.deliveries(110):
        if track == "user":
            synchronizer.deliver("user", delivery)
    assert list(memory.values()) == [pytest.approx(87, abs=2)]


def test_memory_of_drifts_is_bounded():
    memory = {f"device {number}": 0.0 for number in range(MAX_REMEMBERED)}
    synchronizer = Synchronizer({"user": TrackPlan()}, late_s=LATE_S, drift_memory=memory)
    kiosk = VirtualKiosk(device(Absence(100.0, 1.0)), device(), seed=1, world=SOUND)
    for track, delivery in kiosk.deliveries(110):
        if track == "user":
            synchronizer.deliver("user", delivery)
    assert len(memory) == MAX_REMEMBERED
    assert "simulated:user" not in memory


@pytest.mark.parametrize("late_s", [LATE_S, STEP_S + 1.0, 10.0])
def test_no_wait_is_longer_than_it_was_asked_for_however_long_that_is(late_s):
    """A stream may begin further behind the last commit than history has room for."""
    absent = device(Absence(6.0, late_s + 2.0))
    longest_s = 0.0
    for step in steps(absent, device(), 40.0, world=SOUND, late_s=late_s):
        committed_s = (step.span.start + step.span.frames) / RATE
        longest_s = max(longest_s, (step.now_ns - step.epoch_ns) / 1e9 - committed_s)
    block_s, tick_s = device().block_ms / 1000, TICK_NS / 1e9
    assert late_s < longest_s + tick_s
    assert longest_s < late_s + block_s + tick_s


def test_a_stream_that_begins_in_a_burst_ends_where_the_world_does():
    late = (Stall(21.4, 2.7), Absence(21.75, 0.75), Stall(23.2, 2.5))
    recorded = record(device(*late, block_ms=20.0), device(block_ms=20.0), 30)
    assert recorded.pcm.shape[1] / RATE == pytest.approx(30, abs=0.5)


EVENTS = st.one_of(
    st.builds(Loss, st.floats(1, 25), st.integers(1, 40_000), st.booleans()),
    st.builds(Stall, st.floats(1, 25), st.floats(0.01, 3)),
    st.builds(Absence, st.floats(1, 25), st.floats(0.1, 8), st.sampled_from([None, 8_000, 44_100])),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(EVENTS, max_size=4),
    st.lists(EVENTS, max_size=4),
    st.floats(-300, 300),
    st.floats(-300, 300),
    st.floats(0, 3),
    st.sampled_from([20.0, 100.0, 450.0, 2000.0]),
)
def test_whatever_happens_tracks_tile_one_timeline_and_silence_is_accounted_for(
    user_events, bot_events, user_ppm, bot_ppm, jitter_ms, block_ms
):
    common = {"jitter_ms": jitter_ms, "block_ms": block_ms}
    recorded = record(
        device(*user_events, drift_ppm=user_ppm, **common),
        device(*bot_events, drift_ppm=bot_ppm, **common),
        30,
    )
    frames = recorded.pcm.shape[1]
    assert recorded.reasons.shape[1] == frames
    # Both tracks end where the world ended, but for the block that was being filled.
    assert frames / RATE == pytest.approx(30, abs=0.5) or frames / RATE < 30
    for track in TRACKS:
        pcm, codes = recorded.pcm[TRACKS.index(track)], recorded.reasons[TRACKS.index(track)]
        assert not pcm[codes != 0].any()  # a gap is silence
        # A tone is never silent: unexplained silence would be a loss nobody knows of.
        # What a resampler's transients and one sample of a hole are: 5 ms.
        quiet = np.abs(pcm[codes == 0]) < 30
        runs = np.diff(np.flatnonzero(np.concatenate(([True], ~quiet, [True]))))
        assert runs.max(initial=0) < 0.005 * RATE


def test_a_source_that_only_speaks_at_times_has_pauses_and_no_gaps():
    pauses = (Loss(5.0, 4 * 16_000, counted=False), Stall(14.0, 0.5))
    recorded = record(device(*pauses), device(), 20, user_plan=TrackPlan(continuous=False))
    assert inner(recorded.gaps("user"), recorded) == []
    assert recorded.reports["user"].late_frames == 0
    pause = recorded.pcm[0, round(5.2 * RATE) : round(8.8 * RATE)]
    assert not pause.any()
    after = recorded.pcm[:, 12 * RATE :][:, :1_600].astype(int)
    assert np.abs(after[0] - after[1]).max() < 400


def test_what_such_a_source_counts_as_lost_is_a_gap_all_the_same():
    recorded = record(device(Loss(8.0, 1_600)), device(), 15, user_plan=TrackPlan(continuous=False))
    (gap,) = inner(recorded.gaps("user"), recorded)
    assert (gap.reason, abs(gap.frames - 1_600) <= 1) == (GapReason.XRUN, True)
