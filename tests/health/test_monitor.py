import threading

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason, TimelineFrame, TrackReport
from edgerec.health.monitor import LEVEL_S, SILENT, Monitor
from edgerec.health.status import Reason
from edgerec.session.events import EventBus, Level, StateChanged
from edgerec.session.timeline import SessionTimeline
from edgerec.sync.history import History
from tests.rigs.waiting import PATIENCE_S, wait_for

RATE = 100


WARNING = Reason("clipped", "bot", "too loud", "turn it down")


class Listener:
    """Judges nothing; lets a test see what it is shown."""

    warnings = (WARNING,)

    def __init__(self, shown=lambda span: None):
        self._shown = shown

    def listen(self, span, rate, reports):
        assert (span.frames, rate) == (RATE, RATE)
        assert reports is REPORTS
        self._shown(span)


REPORTS = {"user": TrackReport(), "bot": TrackReport()}


class Session:
    """A timeline that a test commits to, of 10 s of ring."""

    def __init__(self, ring_s=10):
        self.history = History(ring_s * RATE)
        self.timeline = SessionTimeline(RATE, self.history, lambda frame: None, REPORTS)

    def audio(self, seconds, amplitude):
        pcm = np.full(round(seconds * RATE), amplitude, np.int16)
        for track in range(len(TRACKS)):
            self.history.append(track, pcm)
        self.history.commit(self.history.end(0))

    def gap(self, frames, reason):
        """A gap of the user's track only."""
        self.history.silence(0, frames, reason)
        self.history.append(1, np.ones(frames, np.int16))
        self.history.commit(self.history.end(0))


def test_levels_are_those_of_the_last_committed_second_without_its_gaps():
    session = Session()
    monitor = Monitor(lambda: session.timeline, Listener())
    session.audio(2.0, 32_767)
    session.audio(0.5, 16_384)
    assert monitor.heard().levels["user"].peak_dbfs == 0.0
    session.audio(0.6, 16_384)
    assert monitor.heard().levels["user"].peak_dbfs == -6.0
    session.gap(RATE // 2, GapReason.STALL)
    assert monitor.heard().levels["user"].rms_dbfs == -6.0


def test_there_are_levels_before_the_first_second_is_full_and_silence_before_a_session():
    assert Monitor(lambda: None, Listener()).heard().levels == dict.fromkeys(TRACKS, SILENT)
    session = Session()
    monitor = Monitor(lambda: session.timeline, Listener())
    assert monitor.heard().levels["user"] == SILENT
    session.audio(0.1, 1_000)
    assert monitor.heard().levels["user"].peak_dbfs == pytest.approx(-30.3)


def test_gaps_are_counted_once_however_the_seconds_cut_them():
    session = Session()
    monitor = Monitor(lambda: session.timeline, Listener())
    session.audio(0.9, 1)
    session.gap(RATE * 2, GapReason.ABSENT)  # over three seconds
    session.audio(0.1, 1)
    session.gap(7, GapReason.XRUN)
    session.gap(3, GapReason.OVERRUN)
    session.audio(0.9, 1)
    heard = monitor.heard()
    totals = {reason: (t.count, t.frames) for reason, t in heard.gaps["user"].items()}
    assert totals == {
        GapReason.ABSENT: (1, 2 * RATE),
        GapReason.XRUN: (1, 7),
        GapReason.OVERRUN: (1, 3),
    }
    assert heard.gaps["bot"] == {}


def test_what_is_wrong_with_the_audio_is_passed_on_while_there_is_some():
    session = Session()
    assert Monitor(lambda: session.timeline, Listener()).heard().warnings == (WARNING,)
    assert Monitor(lambda: None, Listener()).heard().warnings == ()


def test_every_second_is_listened_to_once_and_in_order():
    session, seconds = Session(), []
    monitor = Monitor(lambda: session.timeline, Listener(lambda span: seconds.append(span.start)))
    session.audio(2.5, 1)
    monitor.step()
    session.audio(0.5, 1)
    monitor.step()
    monitor.step()
    assert seconds == [0, RATE, 2 * RATE]


def test_a_new_session_is_listened_to_from_its_first_frame():
    sessions = [Session(), Session()]
    current, starts = [0], []
    monitor = Monitor(
        lambda: sessions[current[0]].timeline, Listener(lambda span: starts.append(span.start))
    )
    sessions[0].gap(RATE, GapReason.STALL)
    assert monitor.heard().gaps["user"]
    current[0] = 1
    sessions[1].audio(1.0, 1)
    assert monitor.heard().gaps["user"] == {}
    assert starts == [0, 0]


def test_what_the_ring_no_longer_holds_is_passed_over():
    session, starts = Session(ring_s=3), []
    monitor = Monitor(lambda: session.timeline, Listener(lambda span: starts.append(span.start)))
    for _ in range(10):
        session.audio(1.0, 1)
    monitor.step()
    assert starts == [7 * RATE, 8 * RATE, 9 * RATE]
    assert monitor.heard().levels["user"].peak_dbfs is not None


def test_the_thread_listens_by_itself_and_ends(monkeypatch):
    session, heard = Session(), threading.Event()
    session.audio(1.0, 1)
    monkeypatch.setattr("edgerec.health.monitor.TICK_S", 0.01)
    monitor = Monitor(lambda: session.timeline, Listener(lambda span: heard.set()))
    monitor.start()
    assert heard.wait(PATIENCE_S)
    monitor.close()
    assert TimelineFrame(RATE) == session.history.committed
    assert not any(thread.name == "monitor" for thread in threading.enumerate())


def test_levels_are_announced_while_somebody_wants_them():
    session = Session()
    session.audio(2.0, 1_000)
    bus = EventBus()
    heard = threading.Event()
    reader = bus.subscribe([Level], notify=heard.set)
    monitor = Monitor(lambda: session.timeline, Listener(), bus)
    monitor.start()
    try:
        assert heard.wait(PATIENCE_S)
    finally:
        monitor.close()
    level = reader.take()
    assert (level.track, level.frames) == ("user", round(LEVEL_S * RATE))
    assert level.start_frame + level.frames == 2 * RATE
    assert level.peak_dbfs == pytest.approx(-30.3, abs=0.1)


def test_who_begins_to_want_levels_does_not_wait_for_a_tick(monkeypatch):
    monkeypatch.setattr("edgerec.health.monitor.TICK_S", 10 * PATIENCE_S)
    session, bus, heard = Session(), EventBus(), threading.Event()
    session.audio(1.0, 1_000)
    monitor = Monitor(lambda: session.timeline, Listener(), bus)
    monitor.start()
    try:
        wait_for(lambda: monitor._leisurely)
        monitor.committed(session.timeline)
        assert not monitor._awake.is_set()  # of no interest to anybody
        bus.subscribe([Level], notify=heard.set)
        monitor.committed(session.timeline)
        assert heard.wait(PATIENCE_S)
        assert not monitor._awake.is_set()  # or it would not sleep again
    finally:
        monitor.close()


def test_a_signal_that_goes_wrong_and_right_again_is_announced_once_each():
    session, listener, bus = Session(), Listener(), EventBus()
    reader = bus.subscribe()
    monitor = Monitor(lambda: session.timeline, listener, bus)
    listener.warnings = ()
    monitor.step()
    assert reader.take() is None
    listener.warnings = (WARNING,)
    monitor.step()
    assert reader.take() == StateChanged("signal", "wrong", "too loud")
    listener.warnings = (Reason("clipped", "bot", "too loud for longer", "turn it down"),)
    monitor.step()
    assert reader.take() is None
    listener.warnings = ()
    monitor.step()
    assert reader.take() == StateChanged("signal", "ok", "")
