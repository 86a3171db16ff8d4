"""One session after the other, in simulated time: begun, paused, cut and ended when asked."""

import itertools

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.sessions import MIN_CHUNK_NS, MIN_PAUSE_NS, Sessions
from edgerec.health.verdict import Vitals
from edgerec.service.watchdog import Watchdog
from edgerec.session.events import StateChanged
from edgerec.session.requests import SessionRequests
from edgerec.session.timeline import Listener
from edgerec.simulation.conversation import tone
from edgerec.sync.synchronizer import Synchronizer, TrackPlan
from tests.rigs.capture_rig import NO_REASON, RATE, epoch_s, keeping
from tests.rigs.fakes import START_NS, FakeClock, FakeSource, S, device

STEP_NS = S // 20


class Files(Listener):
    """Has room for sessions, or has not, and keeps their timelines."""

    has_room = True

    def __init__(self, timelines):
        self.begun = timelines.append


class Rig:
    """A recorder thread's loop on fake devices, which records when it is asked to."""

    def __init__(self, user=None, bot=None, *, started=False):
        self.clock = FakeClock()
        world = tone(440)
        self.sources = {
            "user": FakeSource(device("user", world=world) if user is None else user),
            "bot": FakeSource(device("bot", world=world) if bot is None else bot),
        }
        self.timelines, self.events = [], []
        self.files = Files(self.timelines)
        synchronizer = Synchronizer(
            {name: TrackPlan() for name in TRACKS}, late_s=0.8, drift_memory={}
        )
        self.requests = SessionRequests(self.clock, started=started)
        self.sessions = Sessions(
            synchronizer,
            self.requests,
            self.clock,
            [self.files],
            keeping(60.0),
        )
        self.loop = CaptureLoop(self.sources, self.sessions, publish=self.events.append)

    def ask_at(self, seconds, verb):
        """Let time pass until then, and ask."""
        self.run_to(seconds)
        return self.requests.ask(verb)

    def run_to(self, seconds):
        until_ns = START_NS + round(seconds * S)
        while self.clock.raw_ns < until_ns:
            self.clock.raw_ns = min(self.clock.raw_ns + STEP_NS, until_ns)
            self.loop.step(self.clock.raw_ns)

    def states(self):
        return [e.state for e in self.events if isinstance(e, StateChanged) and e.of == "recorder"]


def seconds(timeline):
    """Where a session begins and ends, in seconds since the devices' world began."""
    return epoch_s(timeline), epoch_s(timeline) + timeline.stop / RATE


def runs(timeline, track="user"):
    """One track of a session as [(reason, seconds), ...], but for the frame at its begin."""
    span = timeline.history.read(0, timeline.history.committed)
    reasons = span.reasons[TRACKS.index(track)][2:]
    return [(int(key), len(list(group)) / RATE) for key, group in itertools.groupby(reasons)]


def about(value):
    return pytest.approx(value, abs=3 / RATE)


def test_audio_before_the_start_is_ignored_and_the_session_begins_there():
    rig = Rig()
    rig.ask_at(5.0, "start")
    rig.ask_at(8.0, "stop")
    rig.run_to(11.0)
    (timeline,) = rig.timelines
    assert seconds(timeline) == (about(5.0), about(8.0))
    assert [reason for reason, _ in runs(timeline)] == [NO_REASON]


def test_nothing_is_recorded_before_a_start_nor_behind_a_stop():
    rig = Rig()
    rig.run_to(10.0)
    assert rig.timelines == []
    assert rig.sessions.state == "idle"
    rig.ask_at(10.0, "start")
    rig.ask_at(12.0, "stop")
    rig.run_to(30.0)
    assert len(rig.timelines) == 1
    assert rig.sessions.timeline is None
    assert not any(source.closed for source in rig.sources.values())


def test_a_second_start_keeps_what_is_recorded():
    rig = Rig()
    rig.ask_at(5.0, "start")
    assert not rig.ask_at(7.0, "start")
    rig.ask_at(9.0, "stop")
    rig.run_to(12.0)
    (timeline,) = rig.timelines
    assert seconds(timeline) == (about(5.0), about(9.0))


def test_each_session_has_its_own_epoch_and_history():
    rig = Rig()
    for begins_s in (5.0, 10.0, 15.0):
        rig.ask_at(begins_s, "start")
        rig.ask_at(begins_s + 2.0, "stop")
    rig.run_to(20.0)
    assert [seconds(timeline) for timeline in rig.timelines] == [
        (about(at), about(at + 2.0)) for at in (5.0, 10.0, 15.0)
    ]
    assert len({id(timeline.history) for timeline in rig.timelines}) == 3


def test_a_start_right_behind_a_stop_misses_nothing():
    rig = Rig()
    rig.ask_at(5.0, "start")
    rig.ask_at(8.0, "stop")
    rig.requests.ask("start")
    rig.ask_at(12.0, "stop")
    rig.run_to(15.0)
    first, second = rig.timelines
    assert seconds(first)[1] == about(8.0)
    assert seconds(second) == (about(8.0), about(12.0))
    assert [reason for reason, _ in runs(second)] == [NO_REASON]
    assert [reason for reason, _ in runs(second, "bot")] == [NO_REASON]


def test_a_session_begins_no_sooner_than_there_is_room_for_it():
    rig = Rig()
    rig.files.has_room = False
    rig.ask_at(5.0, "start")
    rig.run_to(10.0)
    assert rig.timelines == []
    assert rig.sessions.state == "waiting"
    rig.files.has_room = True
    rig.run_to(11.0)
    assert len(rig.timelines) == 1


def test_a_start_that_is_stopped_before_any_device_came_leaves_no_session():
    rig = Rig(user=(), bot=())
    rig.ask_at(1.0, "start")
    rig.ask_at(2.0, "stop")
    rig.run_to(3.0)
    assert rig.timelines == []
    assert rig.sessions.state == "idle"


def test_a_pause_is_a_gap_on_both_tracks_and_ends_the_chunk():
    rig = Rig(started=True)
    rig.ask_at(5.0, "pause")
    rig.ask_at(7.5, "resume")
    rig.ask_at(9.0, "stop")
    rig.run_to(12.0)
    (timeline,) = rig.timelines
    for track in TRACKS:
        before, pause, behind = runs(timeline, track)
        assert (before[0], pause[0], behind[0]) == (NO_REASON, GapReason.PAUSE, NO_REASON)
        assert epoch_s(timeline) + before[1] + 2 / RATE == about(5.0)
        assert pause[1] == about(2.5)
    (cut,) = timeline.cuts
    assert (cut.frame / RATE, cut.reason) == (about(5.0 - epoch_s(timeline)), "pause")


def test_a_session_may_end_in_a_pause():
    rig = Rig(started=True)
    rig.ask_at(5.0, "pause")
    rig.ask_at(9.0, "stop")
    rig.run_to(12.0)
    (timeline,) = rig.timelines
    assert seconds(timeline)[1] == about(9.0)
    assert runs(timeline)[-1] == (GapReason.PAUSE, about(4.0))


def test_a_pause_lasts_a_quarter_of_a_second_at_least():
    rig = Rig(started=True)
    rig.run_to(5.0)
    for _ in range(20):  # within one instant
        rig.requests.ask("pause")
        rig.requests.ask("resume")
    rig.ask_at(8.0, "stop")
    rig.run_to(11.0)
    (timeline,) = rig.timelines
    assert [reason for reason, _ in runs(timeline)] == [NO_REASON, GapReason.PAUSE, NO_REASON]
    assert runs(timeline)[1][1] == about(MIN_PAUSE_NS / S)
    assert len(timeline.cuts) == 1


def test_a_pause_before_the_first_device_came_is_recorded_as_one():
    rig = Rig(started=True)
    rig.requests.ask("pause")
    rig.ask_at(5.0, "resume")
    rig.ask_at(8.0, "stop")
    rig.run_to(11.0)
    (timeline,) = rig.timelines
    (pause, audio) = runs(timeline)
    assert (pause[0], audio[0]) == (GapReason.PAUSE, NO_REASON)
    assert seconds(timeline)[0] + pause[1] + 2 / RATE == about(5.0)


def test_what_was_paused_before_the_session_began_is_not_in_it():
    rig = Rig(started=True, bot=())  # waited for, for 3 s
    rig.ask_at(1.5, "pause")
    rig.ask_at(2.5, "resume")
    rig.ask_at(8.0, "stop")
    rig.run_to(11.0)
    (timeline,) = rig.timelines
    assert seconds(timeline)[0] == about(2.5)


def test_a_rotation_ends_the_chunk_at_that_frame():
    rig = Rig(started=True)
    rig.ask_at(5.0, "rotate")
    rig.run_to(8.0)
    (timeline,) = rig.timelines
    (cut,) = timeline.cuts
    assert (cut.frame / RATE, cut.reason) == (about(5.0 - epoch_s(timeline)), "rotate")


def test_rotations_leave_no_slivers_of_chunks():
    rig = Rig(started=True)
    rig.run_to(5.0)
    for _ in range(10):
        rig.requests.ask("rotate")
    rig.ask_at(5.0 + MIN_CHUNK_NS / S, "rotate")
    rig.run_to(6.0)
    (timeline,) = rig.timelines
    assert len(timeline.cuts) == 2


def test_an_end_of_the_recorder_ends_the_session_and_no_other_begins():
    rig = Rig(started=True)
    rig.ask_at(5.0, "stop")
    rig.requests.ask("start")
    rig.loop.stop()
    rig.run_to(10.0)
    assert len(rig.timelines) == 1
    assert rig.states()[-1] == "idle"


def test_states_are_announced_as_they_change():
    rig = Rig()
    rig.ask_at(1.0, "start")
    rig.ask_at(5.0, "pause")
    rig.ask_at(6.0, "resume")
    rig.ask_at(8.03, "stop")  # within a block
    rig.run_to(11.0)
    want = ["idle", "recording", "paused", "recording", "ending", "idle"]
    assert [state for state in rig.states() if state != "waiting"] == want


def test_no_sound_of_a_pause_is_in_the_history_however_it_is_asked_for():
    rng = np.random.default_rng(1)
    rig = Rig(started=True)
    at_s, paused = 3.0, False
    spans = []
    while at_s < 20.0:
        at_s += rng.uniform(0.3, 1.5)
        rig.ask_at(at_s, "resume" if paused else "pause")
        spans.append(at_s)
        paused = not paused
    rig.ask_at(22.0, "stop")
    rig.run_to(25.0)
    (timeline,) = rig.timelines
    begins_s, ends_s = seconds(timeline)
    spans += [ends_s] if paused else []
    span = timeline.history.read(0, timeline.history.committed)
    for first_s, last_s in zip(spans[::2], spans[1::2], strict=True):
        first, last = (round((at_s - begins_s) * RATE) for at_s in (first_s, last_s))
        inside = slice(first + 1, last - 1)
        assert not span.pcm[:, inside].any()
        assert set(span.reasons[:, inside].ravel().tolist()) == {GapReason.PAUSE}


@pytest.mark.parametrize("length_s", [0.5, 1.2, 3.0, 7.0])
@pytest.mark.parametrize("phase_s", [0.05, 0.45, 1.15, 2.0])
def test_sessions_of_any_length_feed_the_watchdog_however_they_fall_between_its_looks(
    length_s, phase_s
):
    rig, watchdog, look_s = Rig(), Watchdog(S), 7.5

    def alive():
        timeline = rig.sessions.timeline
        vitals = Vitals(
            seconds=None if timeline is None else 1.0,
            committed=rig.sessions.progress,
            rounds=rig.clock.raw_ns,
            durable=0,
            captured=False,
            written=rig.clock.raw_ns,
            trouble=None,
            sources={},
        )
        return watchdog.alive(vitals, rig.clock.raw_ns)

    for number in range(6):
        begin_s = 2 + number * look_s
        rig.ask_at(begin_s, "start")
        look_at_s, stop_at_s = begin_s + phase_s, begin_s + length_s
        if look_at_s < stop_at_s:
            rig.run_to(look_at_s)
            assert alive()
            rig.ask_at(stop_at_s, "stop")
        else:
            rig.ask_at(stop_at_s, "stop")
            rig.run_to(look_at_s)
            assert alive()


def test_a_session_without_room_for_its_history_is_held_up_until_there_is():
    rig = Rig()
    rig.run_to(3.0)
    rig.files.has_room = False
    assert not rig.sessions.held_up
    rig.ask_at(3.0, "start")
    rig.run_to(6.0)
    assert rig.sessions.held_up
    rig.files.has_room = True
    assert not rig.sessions.held_up
    rig.run_to(7.0)
    rig.files.has_room = False
    assert not rig.sessions.held_up
