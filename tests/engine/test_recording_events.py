import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame
from edgerec.engine.recording_events import MAX_TOLD, RecordingEvents
from edgerec.session.events import GapFound, RecordingStarted, RecordingStopped
from edgerec.session.timeline import SessionTimeline
from edgerec.store.records.naming import Session
from edgerec.sync.history import History
from tests.rigs.turn_rig import RATE, stamp_of

SESSION = "5e550000"
QUIET, XRUN, STALL, OFF = GapReason.QUIET, GapReason.XRUN, GapReason.STALL, GapReason.OFF


def watch(*spans, stop=None):
    """What is told of spans, each (start, user's reasons, bot's reasons)."""
    told = []
    timeline = SessionTimeline(RATE, History(1), stamp_of, {})
    gaps = RecordingEvents(Session(SESSION, 1, None, "k1"), timeline, told.append)
    end = 0
    for start, user, bot in spans:
        reasons = np.array([user, bot], np.uint8)
        gaps.watch(Span(TimelineFrame(start), np.zeros(reasons.shape, np.int16), reasons))
        end = start + len(user)
    stop = TimelineFrame(end if stop is None else stop)
    gaps.finish(stop, "stop")
    first, *between, last = told
    assert first == RecordingStarted(SESSION, 1, "k1", RATE, stamp_of(0).monotonic_ns)
    assert last == RecordingStopped(SESSION, 1, stop, "stop")
    return between


def gap(track, start, frames, reason):
    return GapFound(SESSION, track, start, frames, reason.label)


def test_a_gap_is_told_when_it_is_over():
    told = watch((0, [QUIET, XRUN, XRUN, QUIET], [QUIET] * 4))
    assert told == [gap("user", 1, 2, XRUN)]


def test_a_gap_that_goes_on_in_the_next_span_is_one():
    told = watch((0, [QUIET, STALL], [QUIET] * 2), (2, [STALL, QUIET], [QUIET] * 2))
    assert told == [gap("user", 1, 2, STALL)]


def test_a_gap_at_the_end_of_the_session_is_told_then():
    assert watch((0, [QUIET] * 2, [QUIET, STALL])) == [gap("bot", 1, 1, STALL)]


def test_a_track_that_is_off_has_no_gaps():
    assert watch((0, [QUIET] * 2, [OFF] * 2)) == []


def test_what_is_written_again_is_not_told_again():
    told = watch(
        (0, [QUIET, XRUN, QUIET, QUIET], [QUIET] * 4),
        (1, [XRUN, QUIET, QUIET, STALL, QUIET], [QUIET] * 5),
    )
    assert told == [gap("user", 1, 1, XRUN), gap("user", 4, 1, STALL)]


def test_frames_that_no_file_holds_are_told_and_end_what_is_known_of_a_gap():
    told = watch((0, [QUIET, STALL], [QUIET] * 2), (7, [QUIET], [QUIET]), stop=10)
    assert told == [
        gap("user", 1, 1, STALL),
        GapFound(SESSION, None, 2, 5, "disk"),
        GapFound(SESSION, None, 8, 2, "disk"),
    ]


def test_a_device_that_loses_frames_all_the_time_does_not_crowd_out_everything_else():
    told = watch((0, [XRUN, QUIET] * 1_000, [QUIET] * 2_000))
    assert MAX_TOLD / 2 <= len(told) <= MAX_TOLD


@given(
    st.lists(st.sampled_from([QUIET, XRUN, STALL]), min_size=1, max_size=40),
    st.sets(st.integers(1, 39)),
)
def test_gaps_do_not_depend_on_how_they_are_cut(reasons, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < len(reasons)), len(reasons)]
    spans = [
        (first, reasons[first:last], [QUIET] * (last - first))
        for first, last in itertools.pairwise(edges)
    ]
    told = watch(*spans)
    said = [QUIET] * len(reasons)
    for one in told:
        assert one.track == TRACKS[0]
        for frame in range(one.start_frame, one.start_frame + one.frames):
            said[frame] = GapReason[one.reason.upper()]
    assert said == reasons
