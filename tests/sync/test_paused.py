"""A paused recording: nothing that was sampled in a pause goes any further."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import TRACKS, GapReason, TimelineFrame
from edgerec.simulation.conversation import tone
from edgerec.simulation.device import Absence, DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.sync.history import History
from edgerec.sync.placement import ENDLESS, Pauses
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames
from tests.rigs.virtual_kiosk import LATE_S, RATE, START_NS, TICK_NS

S = 1_000_000_000
NO_REASON = 0
UNSURE_S = 100e-6
PROMPT = DeviceModel(latency_ms=0)  # a constant lateness would be taken for a later sampling


def test_frames_are_cut_where_pauses_begin_and_end():
    pauses = Pauses()
    pauses.begin(TimelineFrame(10))
    pauses.end(TimelineFrame(20))
    pauses.begin(TimelineFrame(30))
    assert list(pauses.pieces(0, 40)) == [(10, False), (10, True), (10, False), (10, True)]
    assert list(pauses.pieces(12, 3)) == [(3, True)]
    assert list(pauses.pieces(20, 5)) == [(5, False)]
    assert list(pauses.pieces(20, 0)) == []


def test_a_pause_that_begins_where_one_ends_is_the_same_pause():
    pauses = Pauses()
    pauses.begin(TimelineFrame(10))
    pauses.end(TimelineFrame(20))
    pauses.begin(TimelineFrame(20))
    assert pauses.spans == ((10, ENDLESS),)


def test_pauses_are_remembered_as_long_as_they_may_concern_anybody():
    pauses = Pauses()
    pauses.begin(TimelineFrame(10))
    pauses.end(TimelineFrame(20))
    pauses.begin(TimelineFrame(30))
    pauses.forget(TimelineFrame(20))
    assert len(pauses.spans) == 2
    pauses.forget(TimelineFrame(10_000))
    assert pauses.spans == ((30, ENDLESS),)


@given(
    st.lists(st.integers(1, 50), max_size=8).map(np.cumsum),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_pieces_say_of_every_frame_whether_it_is_paused(edges, start, frames):
    pauses, paused = Pauses(), np.zeros(1_000, bool)
    for first, last in zip(edges[::2], edges[1::2], strict=False):
        pauses.begin(TimelineFrame(int(first)))
        pauses.end(TimelineFrame(int(last)))
        paused[first:last] = True
    said = [flag for length, flag in pauses.pieces(start, frames) for _ in range(length)]
    assert said == paused[start : start + frames].tolist()


def record(pauses_s, *, seconds=12.0, **models):
    """Both tracks of a kiosk that sounds in its pauses only; its epoch and all that was kept.

    Parameters
    ----------
    pauses_s
        When each begins and ends, in seconds since the devices' world began.
    """

    def sound(first_s, step_s, frames):
        times = first_s + step_s * np.arange(frames)
        loud = np.zeros(frames, bool)
        for begins_s, ends_s in pauses_s:
            # Less a little that the clock can't know, or the test would want the impossible.
            loud |= (times >= begins_s + UNSURE_S) & (times < ends_s - UNSURE_S)
        return np.where(loud, tone(440)("user")(first_s, step_s, frames), 0).astype(np.float32)

    model = {track: models.get(track, PROMPT) for track in TRACKS}
    kiosk = VirtualKiosk(
        model["user"], model["bot"], seed=1, world=lambda _track: sound, start_ns=START_NS
    )
    synchronizer = Synchronizer(dict.fromkeys(TRACKS, TrackPlan()), late_s=LATE_S, drift_memory={})
    events = [
        (round(at * S), begins)
        for span in pauses_s
        for at, begins in zip(span, (1, 0), strict=True)
    ]
    history = History(history_frames(RATE, seconds))
    begun, tick_ns = False, 0
    for track, delivery in kiosk.deliveries(seconds):
        now_ns = getattr(delivery, "arrived_ns", START_NS)
        while begun and events and events[0][0] + START_NS <= now_ns:
            at_ns, begins = events.pop(0)
            (synchronizer.pause if begins else synchronizer.resume)(START_NS + at_ns)
        if begun and now_ns >= tick_ns:
            synchronizer.advance(now_ns)
            tick_ns = now_ns + TICK_NS
        synchronizer.deliver(track, delivery)
        settled = synchronizer.first_instants_ns(settled=True)
        if not begun and len(settled) == 2:
            epoch_ns = round(max(settled.values()))
            synchronizer.begin(epoch_ns, RATE, history)
            begun = True
    end = synchronizer.finish()
    return (epoch_ns - START_NS) / S, history.read(TimelineFrame(0), end)


@settings(max_examples=15, deadline=None)
@given(
    st.floats(3.0, 4.0),
    st.floats(0.25, 4.0),
    st.floats(-300, 300),
    st.sampled_from([8_000, 16_000, 44_100, 48_000]),
)
def test_what_was_sampled_in_a_pause_is_nowhere(starts_s, lasts_s, drift_ppm, rate):
    pause = (starts_s, starts_s + lasts_s)
    model = replace(PROMPT, sample_rate=rate, drift_ppm=drift_ppm)
    epoch_s, span = record([pause], user=model)
    first, last = (round((at - epoch_s) * RATE) for at in pause)
    for track in range(2):
        paused = np.flatnonzero(span.reasons[track] == GapReason.PAUSE)
        assert (paused[0], paused[-1] + 1) == pytest.approx((first, last), abs=1)
        assert len(paused) == paused[-1] + 1 - paused[0]
    assert not span.pcm.any()


def test_a_device_that_is_away_in_a_pause_is_no_other_gap():
    _, span = record([(4.0, 8.0)], bot=replace(PROMPT, events=(Absence(5.0, 2.0),)))
    assert set(span.reasons[1].tolist()) == {NO_REASON, GapReason.PAUSE}


def test_the_track_is_where_it_was_when_the_pause_ends():
    _, kept = record([])
    _, span = record([(4.0, 6.0), (6.5, 7.0)])
    assert span.frames == kept.frames
    codes, counts = np.unique(span.reasons, return_counts=True)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True))[
        GapReason.PAUSE
    ] == pytest.approx(2 * 2.5 * RATE, abs=4)
