"""Sources that speak only at times: what is silence, what is a gap, and how streams meet."""

import numpy as np

from edgerec.audio import (
    Block,
    DeviceFrame,
    GapReason,
    StreamEnded,
    StreamHeader,
    TimelineFrame,
)
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames
from tests.rigs.virtual_kiosk import LATE_S, RATE, START_NS


def test_what_such_a_source_says_of_its_end_stands_until_it_speaks_again():
    synchronizer = Synchronizer(
        {"user": TrackPlan(continuous=False)}, late_s=LATE_S, drift_memory={}
    )
    header = StreamHeader(RATE, 1, "user", "x", "monotonic_raw")
    synchronizer.begin(START_NS, RATE, History(history_frames(RATE, 10)))

    def speak(at_s: int, ending: GapReason) -> None:
        synchronizer.deliver("user", header)
        arrived_ns = START_NS + at_s * 10**9
        synchronizer.deliver("user", Block(DeviceFrame(0), 1_600, arrived_ns, 0, 0, bytes(3_200)))
        synchronizer.deliver("user", StreamEnded(ending, "as told"))

    for at_s, ending in ((1, GapReason.SOURCE), (2, GapReason.STALL), (3, GapReason.QUIET)):
        speak(at_s, ending)
        synchronizer.advance(START_NS + round((at_s + 0.85) * 1e9))
    speak(4, GapReason.SOURCE)
    assert synchronizer.finish(TimelineFrame(5 * RATE)) == 5 * RATE
    codes = synchronizer.history.read(TimelineFrame(0), 5 * RATE).reasons[0]
    assert set(codes[:RATE]) == {0}
    assert set(codes[RATE : 2 * RATE - 1_600]) == {GapReason.SOURCE}
    assert set(codes[2 * RATE - 1_600 : 4 * RATE]) == {0}
    assert set(codes[4 * RATE :]) == {GapReason.SOURCE}


def test_streams_that_meet_within_a_frame_lose_nothing_to_silence():
    """The second begins where the first ended, and its first second is held in hand."""
    late_s = 0.2
    synchronizer = Synchronizer(
        {"user": TrackPlan(continuous=False)}, late_s=late_s, drift_memory={}
    )
    synchronizer.begin(START_NS, RATE, History(history_frames(RATE, 10)))
    end_ns = START_NS
    for rate in (44_100, 22_050, 44_100):
        start_ns = end_ns
        synchronizer.deliver("user", StreamHeader(rate, 1, "user", "x", "monotonic_raw"))
        for n in range(10):
            end_ns = start_ns + (n + 1) * 4_012 * 10**9 // 44_100
            frames = 4_012 * rate // 44_100
            pcm = (b"\x10\x27") * frames
            block = Block(DeviceFrame(n * frames), frames, end_ns, 0, 0, pcm)
            synchronizer.deliver("user", block)
            synchronizer.advance(end_ns)
        synchronizer.deliver("user", StreamEnded(GapReason.QUIET, "another rate"))
    end = synchronizer.finish()
    sound = synchronizer.history.read(TimelineFrame(0), end).pcm[0]
    assert np.flatnonzero(np.abs(sound[5:-5]) < 3_000).size == 0
    assert synchronizer.report()["user"].late_frames <= 3
