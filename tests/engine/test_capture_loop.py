"""What the recorder thread waits for, what wakes it, and what it lets go of and tells."""

import os
import select
import threading
import time

import pytest

from edgerec.audio import TRACKS, GapReason, StreamEnded
from edgerec.engine import capture_loop
from edgerec.engine.sessions import TAIL_NS, Sessions
from edgerec.session.timeline import Listener
from edgerec.simulation.device import Absence
from tests.rigs.capture_rig import RATE, Rig, epoch_s
from tests.rigs.fakes import FakeSource, device
from tests.rigs.waiting import PATIENCE_S


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
    woken_again, _, _ = select.select([rig.loop._waker], [], [], 0)
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

    class Reader(Listener):
        def committed(self, timeline):
            told.append((timeline, timeline.stop))

    rig = Rig(*map(device, TRACKS), listeners=(Reader(),))
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


class Live(Listener):
    is_live = True


def seconds_for(source, state="idle", **options):
    """How long the loop takes to read it as often as it wants, while the recorder is like that."""
    rig = Rig(**options)
    rig.loop._sources = {"user": source}
    rig.loop._requests.ask("stop")
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
    "why", [{"listeners": (Live(),)}, {"state": "waiting"}, {"state": "ending"}]
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


def test_listeners_hear_the_end_though_a_device_can_not_be_given_up():
    class Stuck(FakeSource):
        def close(self):
            raise OSError("the device is stuck")

    ended = []

    class Reader(Listener):
        def over(self):
            ended.append(True)

    rig = Rig(listeners=(Reader(),))
    rig.loop._sources = {"user": Stuck([])}
    rig.loop._requests.ask("stop")
    rig.loop.stop()
    with pytest.raises(OSError, match="stuck"):
        rig.loop.run()
    assert ended == [True]
