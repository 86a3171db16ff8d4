"""Where a session begins and ends, whenever its devices come, go or stall."""

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason
from edgerec.engine.session_start import OTHER_TRACK_NS
from edgerec.engine.sessions import TAIL_NS
from edgerec.simulation.conversation import tone
from edgerec.simulation.device import Stall
from tests.rigs.capture_rig import NO_REASON, RATE, STEP_NS, Rig, epoch_s, runs
from tests.rigs.fakes import LATENCY_NS, S, device


def test_a_session_begins_with_the_first_frame_that_both_tracks_have():
    rig = Rig(user=device("user"), bot=device("bot", starts_s=1.0))
    rig.run_to(6.0)
    # A frame of either device at most: the epoch is a whole nanosecond, the joint a whole frame.
    assert epoch_s(rig.timeline) == pytest.approx(1.0 + LATENCY_NS / S, abs=2 / RATE)
    for track in TRACKS:
        (first, *rest) = runs(rig.reasons(track))
        assert first[0] == NO_REASON or first[1] <= 2
        assert len(rest) <= 1


def test_ntp_that_slews_the_systems_clocks_changes_no_frame_and_no_drift():
    def recorded(slew_ppm):
        rig = Rig(*(device(track, world=tone(440), drift_ppm=31.0) for track in TRACKS))
        rig.clock.slew_ppm = slew_ppm
        rig.run_to(90.0)
        history = rig.timeline.history
        span = history.read(history.committed - 10 * RATE, 10 * RATE)
        return span.start, span.pcm.tobytes(), span.reasons.tobytes(), rig.timeline.reports

    assert recorded(500.0) == recorded(0.0)


def test_the_other_track_is_waited_for_but_not_longer_than_it_is_worth():
    rig = Rig(user=device("user"))
    settled_s = 0.7 + 0.2  # `SETTLE_S`, and the first two blocks
    began_s = rig.run_until(lambda: rig.sessions, 10.0)
    assert OTHER_TRACK_NS / S <= began_s <= settled_s + OTHER_TRACK_NS / S + STEP_NS / S
    rig.run_to(10.0)
    assert set(rig.reasons("bot")) == {GapReason.ABSENT}
    assert GapReason.ABSENT not in set(rig.reasons("user"))


def test_a_track_that_comes_later_is_a_gap_up_to_there():
    rig = Rig(user=device("user"), bot=device("bot", starts_s=8.0))
    rig.run_to(12.0)
    (gap, audio) = runs(rig.reasons("bot"))
    assert (gap[0], audio[0]) == (GapReason.ABSENT, NO_REASON)
    came_s = epoch_s(rig.timeline) + gap[1] / RATE
    # Late by its latency, which no stamp shows; and on a whole frame.
    assert came_s == pytest.approx(8.0 + LATENCY_NS / S, abs=2 / RATE)


def test_without_any_device_nothing_begins_and_a_stop_ends_at_once():
    rig = Rig()
    rig.run_to(60.0)
    assert rig.sessions == []
    rig.loop.stop()
    rig.loop.run()
    assert rig.sessions == []


def test_a_stop_records_up_to_its_instant_on_both_tracks():
    rig = Rig(
        user=device("user", world=tone(440)), bot=device("bot", world=tone(440), jitter_ms=1.0)
    )
    rig.run_to(5.03)  # within a block, of which nothing has come yet
    rig.loop.stop()
    ended_s = rig.run_until(rig.ended, 10.0)
    assert rig.timeline.stop / RATE == pytest.approx(5.03 - epoch_s(rig.timeline), abs=1 / RATE)
    assert rig.timeline.history.committed == rig.timeline.stop
    for track in TRACKS:
        assert runs(rig.reasons(track)[2:]) == [(NO_REASON, rig.timeline.stop - 2)]
    assert ended_s < 5.03 + TAIL_NS / S  # it did not have to be given up


def test_a_stop_waits_for_a_device_that_delivers_later_than_a_stuck_one_is_waited_for():
    offset_s = TAIL_NS / S + 1.0
    rig = Rig(device("user"), device("bot"), bot_offset_ms=1000 * offset_s, late_s=offset_s + 1.0)
    rig.run_to(5.03)
    rig.loop.stop()
    rig.run_until(rig.ended, 12.0)
    reasons = rig.reasons("bot")
    assert rig.timeline.stop / RATE == pytest.approx(5.03 - epoch_s(rig.timeline), abs=1 / RATE)
    assert runs(reasons[-RATE:]) == [(NO_REASON, RATE)]


def test_a_stop_while_the_other_track_is_waited_for_records_what_there_is():
    rig = Rig(user=device("user"))
    rig.run_to(2.0)  # settled since 0.9 s, and waiting for the bot
    assert rig.sessions == []
    rig.loop.stop()
    rig.run_until(rig.ended, 10.0)
    assert rig.timeline.stop / RATE == pytest.approx(2.0 - epoch_s(rig.timeline), abs=1 / RATE)
    assert epoch_s(rig.timeline) == pytest.approx(LATENCY_NS / S, abs=2 / RATE)


def test_a_session_that_only_begins_behind_the_stop_is_empty():
    rig = Rig(user=device("user", starts_s=1.0), bot=device("bot", starts_s=1.0))
    rig.clock.raw_ns = rig.at(0.5)
    rig.loop.stop()
    rig.clock.raw_ns = rig.at(4.0)  # the thread did not get to run before
    rig.run_until(rig.ended, 10.0)
    assert rig.timeline.stop == 0


def test_a_stop_does_not_wait_long_for_a_device_that_stalls():
    rig = Rig(user=device("user"), bot=device("bot", events=(Stall(4.0, 60.0),)))
    rig.run_to(5.0)
    rig.loop.stop()
    ended_s = rig.run_until(rig.ended, 10.0)
    assert 5.0 + TAIL_NS / S < ended_s <= 5.0 + TAIL_NS / S + 2 * STEP_NS / S
    assert rig.timeline.stop / RATE == pytest.approx(5.0 - epoch_s(rig.timeline), abs=1 / RATE)
    assert runs(rig.reasons("user")[2:]) == [(NO_REASON, rig.timeline.stop - 2)]
    *_, (_, gap_frames) = runs(rig.reasons("bot"))
    assert gap_frames / RATE == pytest.approx(1.0, abs=0.1 + 2 / RATE)  # the block it was filling


def test_only_the_first_stop_counts():
    rig = Rig(user=device("user"), bot=device("bot"))
    rig.run_to(5.0)
    rig.loop.stop()
    rig.clock.raw_ns += S // 20
    rig.loop.stop()
    rig.run_until(rig.ended, 10.0)
    assert rig.timeline.stop / RATE == pytest.approx(5.0 - epoch_s(rig.timeline), abs=1 / RATE)


def test_a_session_of_given_length_has_exactly_that():
    rig = Rig(user=device("user"), bot=device("bot", drift_ppm=100.0), length_s=7.25)
    rig.run_until(rig.ended, 20.0)
    assert rig.timeline.stop == 7.25 * RATE


def test_a_machine_that_slept_through_a_stop_fills_the_hole_before_it_ends():
    rig = Rig(user=device("user", seconds=5.0), bot=device("bot", seconds=5.0))
    rig.run_to(6.0)
    rig.clock.raw_ns = rig.at(600.0)  # many times what the ring holds
    rig.loop.stop()
    rig.run_until(rig.ended, 700.0)
    assert rig.timeline.stop / RATE == pytest.approx(600.0 - epoch_s(rig.timeline), abs=1 / RATE)


def test_what_is_heard_after_a_stop_is_not_recorded():
    rig = Rig(user=device("user", world=tone(440)), bot=device("bot", world=tone(440)))
    rig.run_to(5.0)
    rig.loop.stop()
    rig.run_until(rig.ended, 10.0)
    span = rig.timeline.history.read(rig.timeline.stop - RATE, RATE)
    assert np.abs(span.pcm[:, -16:]).max() > 1000
