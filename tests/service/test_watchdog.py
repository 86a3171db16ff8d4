"""What keeps the watchdog fed, and what starves it."""

import threading
from dataclasses import replace

import pytest

from edgerec.audio import SourceState
from edgerec.health.verdict import Vitals
from edgerec.service.watchdog import Supervisor, Watchdog, status_line, watchdog_s
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.waiting import PATIENCE_S, wait_for

STALL_S = 30
WRITER_PATIENCE_S = 120  # the writer's: four times as long
LOOK_S = 5

SOURCES = {
    "user": SourceState("running", START_NS, "", 0),
    "bot": SourceState("absent", START_NS, "no such device", 3),
}
RECORDING = Vitals(
    seconds=1.0, committed=16_000, rounds=9, durable=8_000, captured=False, written=7,
    trouble=None, sources=SOURCES,
)  # fmt: skip


class Rig:
    """A supervisor of vitals that the test sets; time passes when it says so."""

    def __init__(self, watchdog_s=20.0):
        self.clock = FakeClock()
        self.vitals = RECORDING
        self.sent = []
        self.supervisor = Supervisor(
            lambda: self.vitals,
            self.clock,
            stall_s=STALL_S,
            notify=self.sent.append,
            watchdog_s=watchdog_s,
        )

    def look(self, **changed):
        """Look again later, at these changes; tell whether the watchdog was fed."""
        self.vitals = replace(self.vitals, **changed)
        self.clock.raw_ns += LOOK_S * S
        self.supervisor.look()
        return "WATCHDOG=1" in self.sent[-1].splitlines()


@pytest.fixture
def rig():
    rig = Rig()
    assert rig.look()  # the first look has nothing to compare with
    return rig


def is_told(rig, **changed):
    rig.look(**changed)
    return "READY=1" in rig.sent[-1].splitlines()


@pytest.mark.parametrize(
    "reached",
    [
        {"durable": 1},
        {"seconds": None},  # paused, or to be started by command
        {"trouble": "No space left on device"},
    ],
    ids=["frames are durable", "nothing is to be recorded", "the disk takes nothing"],
)
def test_it_is_ready_once_when_it_records_or_has_declared_why_not(reached):
    rig = Rig()
    starting = SOURCES | {"bot": SourceState("starting", START_NS, "", 0)}
    assert not is_told(rig, durable=0)
    assert not is_told(rig, sources=starting, **reached)
    assert is_told(rig, sources=SOURCES)
    assert not is_told(rig)


def test_a_start_is_looked_at_all_the_time_until_it_is_ready():
    rig = Rig(watchdog_s=4000 * PATIENCE_S)
    rig.vitals = replace(RECORDING, durable=0)
    with rig.supervisor:
        wait_for(lambda: len(rig.sent) > 2)
        rig.vitals = RECORDING
        wait_for(lambda: "READY=1" in rig.sent[-1])


def test_a_start_that_is_looked_at_more_often_than_it_goes_round_is_no_error(caplog):
    rig = Rig()
    rig.vitals = replace(RECORDING, seconds=None, durable=0)
    for _ in range(10):
        rig.supervisor.look()
        rig.clock.raw_ns += S // 4
    assert caplog.records == []
    assert not rig.look()
    rig.look()
    [error] = caplog.records  # once
    assert "recording is stalled" in error.getMessage()
    assert rig.look(rounds=10)
    assert not rig.look()
    assert len(caplog.records) == 2


def test_commits_and_writing_feed_it(rig):
    for step in range(1, 100):
        assert rig.look(committed=16_000 + step, written=7 + step)


def test_a_recorder_thread_that_commits_nothing_starves_it_though_it_goes_round(rig):
    assert not rig.look(rounds=10, written=8)
    assert not rig.look(rounds=20, written=9)
    assert rig.look(committed=17_000, written=10)


def test_time_alone_never_feeds_it(rig):
    assert not any(rig.look() for _ in range(100))


def test_without_a_session_the_recorder_thread_must_still_go_round(rig):
    assert rig.look(seconds=None, rounds=10, written=8)
    assert rig.look(rounds=11, written=9)
    assert not rig.look(written=10)


def test_the_begin_of_a_session_feeds_it_with_its_first_frames(rig):
    assert rig.look(seconds=None, committed=0, rounds=10, written=8)
    assert rig.look(seconds=0.0, rounds=11, written=9)
    assert not rig.look(rounds=12, written=10)
    assert rig.look(seconds=0.5, committed=8_000, rounds=13, written=11)


def test_a_writer_that_stands_in_one_call_is_waited_for_longer_than_a_disk_may_stall(rig):
    fed_s = 0
    while rig.look(committed=rig.vitals.committed + 1):
        fed_s += LOOK_S
    assert fed_s == WRITER_PATIENCE_S > STALL_S
    assert rig.look(committed=0, written=8)


def test_trouble_that_the_writer_declares_is_no_reason_to_end_it(rig):
    for step in range(1, 2 * WRITER_PATIENCE_S // LOOK_S):
        assert rig.look(committed=16_000 + step, trouble="writing x: No space left on device")


def test_trouble_does_not_excuse_the_recorder_thread(rig):
    assert not rig.look(trouble="writing x: No space left on device")


def test_while_the_end_is_written_only_the_writer_counts(rig):
    assert rig.look(seconds=None, captured=True, written=8)
    assert rig.look(written=9)
    fed_s = 0
    while rig.look():
        fed_s += LOOK_S
    assert fed_s == WRITER_PATIENCE_S


def test_that_it_starves_is_logged_once(rig, caplog):
    rig.look()
    rig.look()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    rig.look(committed=1, written=8)
    rig.look()
    assert len(caplog.records) == 2


def test_where_systemd_has_no_watchdog_only_the_status_is_told():
    rig = Rig(watchdog_s=None)
    assert not rig.look()
    assert rig.sent[-1].startswith("STATUS=")


def test_the_status_line_says_how_long_and_how_each_source_is():
    vitals = replace(RECORDING, seconds=3_723.9, trouble="writing x: No\nspace")
    assert status_line(vitals, START_NS + 12 * S) == (
        "recording 1:02:03; user running for 12 s; bot absent for 12 s (no such device); "
        "disk: writing x: No space"
    )
    assert status_line(replace(vitals, seconds=None), START_NS).startswith("not recording; ")


def test_its_thread_looks_by_itself_and_ends_when_left():
    looked = threading.Event()
    supervisor = Supervisor(
        lambda: RECORDING,
        FakeClock(),
        stall_s=STALL_S,
        notify=lambda lines: looked.set(),
        watchdog_s=0.04,
    )
    with supervisor:
        assert looked.wait(PATIENCE_S)
    assert not any(thread.name == "supervisor" for thread in threading.enumerate())


def test_the_watchdog_is_what_systemd_says(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_s() == 20.0
    monkeypatch.setenv("WATCHDOG_PID", "1")  # that of another process, which started this one
    assert watchdog_s() is None
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_s() is None


def test_a_writer_that_has_not_been_seen_yet_is_not_late():
    assert Watchdog(S).alive(RECORDING, START_NS + 1_000 * S)
