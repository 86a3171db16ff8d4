import itertools
import os
import select
import threading
import time

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason, StreamEnded
from edgerec.capture.conversation import tone
from edgerec.capture.faults import Absence, Stall
from edgerec.service import capture_loop
from edgerec.service.sessions import OTHER_TRACK_NS, TAIL_NS, Sessions
from edgerec.sync.ring import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames
from tests.kiosk import LATENCY_NS, START_NS, FakeClock, FakeSource, S, device, recording_loop

RATE = 16_000
STEP_NS = S // 10
NO_REASON = 0


class Rig:
    """A capture loop on fake sources; time passes when the test says so."""

    def __init__(self, user=(), bot=(), length_s=None, *, bot_offset_ms=0.0, late_s=0.8, **options):
        self.clock = FakeClock()
        self.sources = {"user": FakeSource(user), "bot": FakeSource(bot)}
        self.sessions = []
        plans = {"user": TrackPlan(), "bot": TrackPlan(offset_ms=bot_offset_ms)}
        self.loop = recording_loop(
            self.sources,
            Synchronizer(plans, late_s=late_s, drift_memory={}),
            self.clock,
            length_s=length_s,
            choose_rate=lambda headers: RATE,
            build_history=lambda rate: History(history_frames(rate, 30.0)),
            on_session=self.sessions.append,
            **options,
        )

    @property
    def timeline(self):
        (timeline,) = self.sessions
        return timeline

    def at(self, seconds):
        """The instant so many seconds after the devices' world began."""
        return START_NS + round(seconds * S)

    def run_to(self, seconds):
        while self.clock.raw_ns < self.at(seconds):
            self.clock.raw_ns = min(self.clock.raw_ns + STEP_NS, self.at(seconds))
            self.loop.step(self.clock.raw_ns)

    def run_until(self, is_so, limit_s):
        """Run until something is so; return the seconds at which it became so."""
        while not is_so():
            assert self.clock.raw_ns < self.at(limit_s), f"not so within {limit_s} s"
            self.clock.raw_ns += STEP_NS
            self.loop.step(self.clock.raw_ns)
        return (self.clock.raw_ns - START_NS) / S

    def ended(self):
        return bool(self.sessions) and self.timeline.stop is not None

    def reasons(self, track):
        """The timeline of one track, from the first frame that the ring still holds."""
        history = self.timeline.history
        start = max(history.committed - 20 * RATE, 0)
        span = history.read(start, history.committed - start)
        return span.reasons[TRACKS.index(track)]


def epoch_s(timeline):
    """The session's epoch, in seconds since the devices' world began."""
    return (timeline.stamp_of(0).monotonic_ns - 7 * S - START_NS) / S


def runs(reasons):
    """Draw reason codes as [(reason, frames), ...]."""
    return [(int(key), len(list(group))) for key, group in itertools.groupby(reasons.tolist())]


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


def test_each_step_reports_what_is_known_of_the_tracks():
    rig = Rig(user=device("user"), bot=device("bot", events=(Absence(30.0, 60.0),)))
    rig.run_to(29.0)
    assert rig.timeline.reports["bot"].device == "simulated:bot"
    assert rig.timeline.reports["user"].residual_us is not None
    rig.run_to(40.0)
    assert rig.timeline.reports["bot"].device == "simulated:bot"  # the last one it was


def test_devices_are_given_up_when_the_session_has_ended():
    rig = Rig(user=device("user"), bot=device("bot"))
    rig.loop.stop()
    rig.loop.run()
    assert all(source.closed for source in rig.sources.values())


def test_devices_are_given_up_when_a_source_raises():
    class BrokenSource(FakeSource):
        def deliver(self, now_ns):
            raise RuntimeError("broken")

    rig = Rig()
    rig.sources["bot"] = broken = BrokenSource()
    rig.loop._sources = rig.sources
    with pytest.raises(RuntimeError, match="broken"):
        rig.loop.run()
    assert broken.closed
    assert rig.sources["user"].closed


@pytest.fixture
def no_tick(monkeypatch):
    """A loop that asks its sources only when something wakes it."""
    monkeypatch.setattr(capture_loop, "TICK_MS", 600_000)


PATIENCE_S = 20.0  # of real time, for a thread that something has woken


def test_a_stop_wakes_the_loop(no_tick):
    rig = Rig()
    thread = threading.Thread(target=rig.loop.run, daemon=True)
    thread.start()
    rig.loop.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_one_stop_wakes_the_loop_once():
    rig = Rig()
    rig.loop.stop()
    rig.loop._wait()
    woken_again, _, _ = select.select([rig.loop._woken], [], [], 0)
    assert not woken_again  # or it would spin until the session has ended


def test_a_loop_that_is_behind_does_not_wait_to_be_woken(no_tick):
    rig = Rig(user=device("user", seconds=5.0), bot=device("bot", seconds=5.0))
    rig.run_to(6.0)
    rig.clock.raw_ns = rig.at(60.0)
    rig.loop.stop()
    rig.clock.raw_ns += 2 * TAIL_NS
    thread = threading.Thread(target=rig.loop.run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert rig.timeline.stop / RATE == pytest.approx(60.0 - epoch_s(rig.timeline), abs=1 / RATE)


def test_a_pipe_with_something_in_it_wakes_the_loop(no_tick):
    reader, writer = os.pipe()
    heard = threading.Event()

    class PipeSource(FakeSource):
        def fileno(self):
            return reader

        def deliver(self, now_ns):
            if select.select([reader], [], [], 0)[0]:
                os.read(reader, 1)
                heard.set()
            return []

    rig = Rig()
    rig.loop._sources = {"user": PipeSource()}
    thread = threading.Thread(target=rig.loop.run, daemon=True)
    thread.start()
    os.write(writer, b"x")
    assert heard.wait(PATIENCE_S)
    rig.loop.stop()
    thread.join(PATIENCE_S)
    os.close(reader)
    os.close(writer)


def test_the_end_of_a_session_is_told_to_who_reads_it_and_is_not_waited_for():
    told = []
    rig = Rig(
        *map(device, TRACKS), on_committed=lambda timeline: told.append((timeline, timeline.stop))
    )
    rig.run_to(5.0)
    rig.loop.stop()
    rig.run_until(rig.ended, 10.0)
    assert told[-1] == (rig.timeline, rig.timeline.stop)


class FullPipe(FakeSource):
    """A source whose pipe always has something in it; says when it was read so many times."""

    def __init__(self, reads, *, unhurried):
        super().__init__()
        self.unhurried = unhurried
        self.left = reads
        self.read = threading.Event()
        self._reader, writer = os.pipe()
        os.close(writer)

    def fileno(self):
        return self._reader

    def deliver(self, now_ns):
        self.left -= 1
        if self.left == 0:
            self.read.set()
        return []

    def close(self):
        os.close(self._reader)


def seconds_for(source, state="idle", **options):
    """How long the loop takes to read it as often as it wants, while the recorder is like that."""
    rig = Rig(**options)
    rig.loop._sources = {"user": source}
    rig.loop._wishes.ask("stop")
    thread = threading.Thread(target=rig.loop.run, daemon=True)
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sessions, "state", state)
        thread.start()
        assert source.read.wait(PATIENCE_S)
    seconds = time.monotonic() - began
    rig.loop.stop()
    thread.join(PATIENCE_S)
    return seconds


def test_stamped_blocks_are_fetched_a_few_at_a_time():
    reads, pace_ms = 4, 50
    source = FullPipe(reads, unhurried=True)
    assert seconds_for(source, pace_ms=pace_ms) >= (reads - 1) * pace_ms / 1000


@pytest.mark.parametrize(
    "why", [{"is_heard": lambda: True}, {"state": "waiting"}, {"state": "ending"}]
)
def test_they_are_read_at_once_while_somebody_hears_them_or_a_session_waits(why):
    seconds_for(FullPipe(100, unhurried=True), pace_ms=round(10 * PATIENCE_S * 1000), **why)


def test_what_an_application_pushes_is_read_at_once(monkeypatch):
    monkeypatch.setattr(capture_loop, "TICK_MS", round(10 * PATIENCE_S * 1000))
    seconds_for(FullPipe(100, unhurried=False))


def test_a_silent_track_is_logged_with_its_reason(caplog):
    class EndedSource(FakeSource):
        def deliver(self, now_ns):
            return [StreamEnded(GapReason.ABSENT, "no input device named 'mic'")]

    rig = Rig()
    rig.loop._sources = {"user": EndedSource()}
    rig.run_to(0.1)
    (line,) = caplog.messages
    assert line == ("track is silent track=user reason=absent why=\"no input device named 'mic'\"")


def test_what_is_heard_after_a_stop_is_not_recorded():
    rig = Rig(user=device("user", world=tone(440)), bot=device("bot", world=tone(440)))
    rig.run_to(5.0)
    rig.loop.stop()
    rig.run_until(rig.ended, 10.0)
    span = rig.timeline.history.read(rig.timeline.stop - RATE, RATE)
    assert np.abs(span.pcm[:, -16:]).max() > 1000
