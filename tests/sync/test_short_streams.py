"""Streams of any rate, however short, however often begun: none of them ends anything."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, DeviceFrame, GapReason, StreamEnded, StreamHeader
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames

S = 1_000_000_000
EPOCH_NS = 100 * S
LATE_S = 0.8
LATER_S = 0.002  # blocks come later by this, in the mean
PAUSE_S = 0.3  # between two streams
LEVEL = 5_000


@dataclass(frozen=True)
class Streams:
    """Punctual streams of one device, one after another."""

    rate: int
    timeline_rate: int
    lasting_s: float
    seconds: float
    seed: int
    block_s: float = 0.1
    is_ended: bool = False


def sampled_and_recorded_s(streams):
    """Return how much was sampled, and how much of it the recording holds."""
    draw = np.random.default_rng(streams.seed)
    synchronizer = Synchronizer({"user": TrackPlan()}, late_s=LATE_S, drift_memory={})
    history = History(history_frames(streams.timeline_rate, streams.seconds * 1.5 + 10))
    synchronizer.begin(EPOCH_NS, streams.timeline_rate, history)
    frames = round(streams.block_s * streams.rate)
    pcm = np.full(frames, LEVEL, "<i2").tobytes()
    begun_s, sampled_s = 0.0, 0.0
    while begun_s < streams.seconds:
        header = StreamHeader(streams.rate, 1, "user", "feed:x", "monotonic_raw")
        synchronizer.deliver("user", header)
        true_rate = streams.rate * (1 + draw.uniform(-100, 100) * 1e-6)
        blocks = round(streams.lasting_s / streams.block_s)
        for nth in range(blocks):
            end_s = begun_s + (nth + 1) * frames / true_rate
            arrived_ns = EPOCH_NS + round((end_s + draw.exponential(LATER_S)) * S)
            first = DeviceFrame(nth * frames)
            synchronizer.deliver("user", Block(first, frames, arrived_ns, 0, 0, pcm))
            if draw.random() < 0.2:
                while synchronizer.advance(arrived_ns):
                    pass
        sampled_s += blocks * frames / true_rate
        begun_s = end_s + PAUSE_S
        if streams.is_ended:
            synchronizer.deliver("user", StreamEnded(GapReason.ABSENT, "it went"))
    end = synchronizer.finish()
    assert not (history.read(0, end).reasons[0] == GapReason.RESYNC).any()
    return sampled_s, np.count_nonzero(history.read(0, end).reasons[0] == 0) / streams.timeline_rate


def assert_all_is_recorded(streams):
    sampled_s, recorded_s = sampled_and_recorded_s(streams)
    began = streams.seconds / (streams.lasting_s + PAUSE_S) + 1
    # Each stream begins up to some ms after it, as its blocks come late; and between two frames.
    assert recorded_s == pytest.approx(sampled_s, abs=began * (8 * LATER_S + 3 / streams.rate))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_feed_at_4000_hz_begun_every_9_s_is_recorded_for_minutes(seed):
    """What soxr holds back of 4 kHz let a crossfade last until the next bend."""
    assert_all_is_recorded(Streams(4_000, 48_000, 9.0, 220, seed))


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        Streams,
        rate=st.sampled_from([4_000, 4_100, 4_800, 5_512, 8_000, 11_025, 44_100, 48_000, 192_000])
        | st.integers(4_000, 192_000),
        timeline_rate=st.sampled_from([8_000, 16_000, 48_000]),
        lasting_s=st.floats(1.0, 12.0),
        seconds=st.just(20),
        seed=st.integers(0, 2**32 - 1),
        block_s=st.sampled_from([0.01, 0.1, 0.25, 0.9]),
        is_ended=st.booleans(),
    )
)
def test_streams_of_any_rate_and_length_are_recorded_whole(streams):
    assert_all_is_recorded(streams)
