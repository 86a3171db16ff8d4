"""A machine that sleeps: the session ends there, another one begins behind it."""

import json
import subprocess
import sys
from datetime import datetime

import pytest

from edgerec.audio import GapReason
from edgerec.clock import SystemClock
from edgerec.engine.sessions import SLEPT_NS
from edgerec.session.requests import MAX_WAITING
from edgerec.store.archive.verify import verify
from edgerec.wire.messages import RefusedError
from tests.engine.test_sessions import STEP_NS, Rig, about, runs, seconds
from tests.rigs.capture_rig import NO_REASON, epoch_s
from tests.rigs.fakes import UTC_NS, S
from tests.rigs.recorder_rig import begun

HOURS_8 = 8 * 3600.0
AROUND_S = 0.9  # awake, around the sleep, and in neither session


def utc_s(said):
    return datetime.fromisoformat(said).timestamp()


def test_what_was_recorded_before_and_after_8_hours_asleep_is_dated_right(running):
    rig = running()
    begun(rig)
    rig.let_pass(2.0)
    rig.clock.suspend(HOURS_8)
    rig.let_pass(5.0)
    rig.finish()
    records = [one for one in rig.published if one.kind == "session"]
    before, after = [json.loads(one.path.read_text()) for one in records]
    assert (before["end_reason"], after["end_reason"]) == ("suspend", "stop")
    slept_at_s = UTC_NS / S + 5.0
    assert utc_s(before["end"]["ended_at"]) == pytest.approx(slept_at_s, abs=0.2)
    assert utc_s(after["started_at"]) == pytest.approx(slept_at_s + HOURS_8, abs=AROUND_S)
    for record in (before, after):
        length_s = record["frames"] / 16_000
        assert utc_s(record["end"]["ended_at"]) - utc_s(record["started_at"]) == pytest.approx(
            length_s
        )
    assert verify(rig.root).ok


@pytest.fixture
def rig():
    return Rig()


def test_the_session_ends_before_the_sleep_on_both_tracks_and_the_next_begins_behind_it(rig):
    rig.ask_at(5.0, "start")
    rig.run_to(10.0)
    rig.clock.suspend(HOURS_8)
    rig.ask_at(15.0, "stop")
    rig.run_to(20.0)
    first, second = rig.timelines
    assert (first.end_reason, second.end_reason) == ("suspend", "stop")
    assert seconds(first) == (about(5.0), about(10.0))
    assert seconds(second) == (about(10.0 + STEP_NS / S), about(15.0))
    for timeline in (first, second):
        for track in ("user", "bot"):
            assert [reason for reason, _ in runs(timeline, track)] == [NO_REASON]


def test_frames_from_before_the_sleep_are_dated_as_then_whenever_that_is_asked(rig):
    rig.ask_at(5.0, "start")
    rig.run_to(9.0)
    stamped = rig.timelines[0].stamp_of(0)
    rig.clock.suspend(HOURS_8)
    assert rig.timelines[0].stamp_of(0) == stamped
    rig.run_to(20.0)
    assert rig.timelines[0].stamp_of(0).utc_ns == stamped.utc_ns
    asleep_s = (rig.timelines[1].stamp_of(0).utc_ns - stamped.utc_ns) / S - (9.05 - 5.0)
    assert asleep_s == pytest.approx(HOURS_8, abs=0.01)


def test_a_pause_goes_on_behind_the_sleep(rig):
    rig.ask_at(5.0, "start")
    rig.ask_at(8.0, "pause")
    rig.run_to(10.0)
    rig.clock.suspend(HOURS_8)
    rig.ask_at(13.0, "resume")
    rig.ask_at(15.0, "stop")
    rig.run_to(20.0)
    second = rig.timelines[1]
    assert [reason for reason, _ in runs(second)] == [GapReason.PAUSE, NO_REASON]


def test_what_was_asked_in_the_step_of_the_sleep_counts(rig):
    rig.ask_at(5.0, "start")
    rig.run_to(10.0)
    rig.clock.raw_ns += STEP_NS // 2
    rig.requests.ask("pause")
    rig.clock.suspend(HOURS_8)
    rig.run_to(12.0)
    assert rig.sessions.state == "paused"
    assert seconds(rig.timelines[0])[1] == about(10.0 + STEP_NS / 2 / S)
    assert {reason for reason, _ in runs(rig.timelines[1])} == {GapReason.PAUSE}


def test_a_sleep_while_nothing_is_recorded_changes_nothing(rig):
    rig.run_to(5.0)
    rig.clock.suspend(HOURS_8)
    rig.run_to(6.0)
    assert rig.timelines == []
    rig.ask_at(8.0, "start")
    rig.ask_at(10.0, "stop")
    rig.run_to(15.0)
    assert [timeline.end_reason for timeline in rig.timelines] == ["stop"]


def test_a_session_that_waits_for_its_devices_begins_behind_the_sleep():
    rig = Rig(bot=())
    rig.ask_at(2.0, "start")
    rig.run_to(4.5)  # the other track is still waited for
    rig.clock.suspend(HOURS_8)
    rig.run_to(8.0)
    (timeline,) = rig.timelines
    assert epoch_s(timeline) > 4.5
    assert timeline.stamp_of(0).utc_ns / S > UTC_NS / S + HOURS_8


def test_a_session_that_is_being_stopped_is_not_begun_again(rig):
    rig.ask_at(5.0, "start")
    rig.ask_at(10.0, "stop")
    rig.clock.suspend(HOURS_8)
    rig.run_to(20.0)
    assert [timeline.end_reason for timeline in rig.timelines] == ["stop"]


def test_where_too_much_is_asked_the_next_look_finds_the_sleep(rig):
    rig.ask_at(5.0, "start")
    rig.run_to(10.0)
    for _ in range(MAX_WAITING):
        rig.requests.ask("rotate")
    with pytest.raises(RefusedError):
        rig.requests.ask("rotate")
    rig.clock.suspend(HOURS_8)
    rig.run_to(15.0)
    first, _ = rig.timelines
    assert first.end_reason == "suspend"
    assert seconds(first)[1] == about(10.0)


def test_what_two_readings_are_apart_is_no_sleep(rig):
    rig.ask_at(5.0, "start")
    rig.run_to(8.0)
    rig.clock.suspend((SLEPT_NS - 1) / S)
    rig.run_to(15.0)
    assert len(rig.timelines) == 1


def test_the_machine_says_how_long_it_slept():
    said_ns = SystemClock().read().slept_ns
    read = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())"
    out = subprocess.run([sys.executable, "-S", "-c", read], capture_output=True, check=True)
    assert said_ns / S == pytest.approx(float(out.stdout), abs=0.1)
