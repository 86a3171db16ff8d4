"""The threads together, on devices that deliver as fast as they are asked."""

import contextlib
import itertools
import json
import os
import socket
import threading
import time

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason, StreamEnded
from edgerec.capture.answers import RefusedError
from edgerec.capture.conversation import tone
from edgerec.capture.device_watch import DeviceWatch
from edgerec.capture.faults import Absence
from edgerec.capture.virtual_device import Handover
from edgerec.service import monitor, parts, turn_writing
from edgerec.service.announcements import (
    Announcer,
    FilePublished,
    GapDeclared,
    Level,
    SessionStarted,
    SessionStopped,
    StateChanged,
)
from edgerec.service.hooks import Hooks
from edgerec.service.monitor import Monitor
from edgerec.service.recorder import Recorder
from edgerec.service.taps import Taps
from edgerec.service.turn_loop import TurnLoop
from edgerec.store.disk import StoreError
from edgerec.store.root import RootHeldError, StorageRoot
from edgerec.store.verify import verify
from tests.kiosk import LATENCY_NS, START_NS, FakeClock, FakeSource, S, config, device
from tests.recordings import audio, chunks, sidecar
from tests.waiting import PATIENCE_S, wait_for

RATE = 16_000


class RunningClock(FakeClock):
    """A clock on which a tenth of a second passes whenever the recorder thread looks at it."""

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            self.raw_ns += S // 10
        return self.raw_ns


class PacedClock(FakeClock):
    """A clock on which time passes when the test lets it, as fast as the recorder thread goes."""

    def __init__(self):
        super().__init__()
        self.until_ns = self.raw_ns

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            if self.raw_ns < self.until_ns:
                self.raw_ns += S // 10
            else:
                time.sleep(0.001)
        return self.raw_ns

    def let_pass(self, seconds):
        self.until_ns += round(seconds * S)
        wait_for(lambda: self.raw_ns >= self.until_ns)


class EagerSource(FakeSource):
    """A device with a pipe that always has something in it: the loop never waits."""

    def __init__(self, handovers):
        super().__init__(handovers)
        self._reader, writer = os.pipe()
        os.close(writer)

    def fileno(self):
        return self._reader

    def close(self):
        super().close()
        os.close(self._reader)


class BrokenSource(EagerSource):
    """A source with a bug that shows after a while."""

    def deliver(self, now_ns):
        if now_ns > START_NS + 5 * S:
            raise RuntimeError("a bug")
        return super().deliver(now_ns)


@pytest.fixture
def kiosk(monkeypatch):
    """The recorder's sources, whatever its configuration says."""
    sources = {track: EagerSource(device(track)) for track in TRACKS}
    monkeypatch.setattr(parts, "build_children", lambda config, now_ns: sources)
    return sources


def wait(recorder):
    """Wait as `Recorder.wait` does, but not for ever."""
    failure = []

    def target():
        try:
            recorder.wait()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the recorder did not end"
    if failure:
        raise failure[0]


def test_a_session_of_given_length_is_published_and_closed(tmp_path, kiosk):
    published = []
    recorder = Recorder(
        config(tmp_path / "root", chunk_seconds=2.0),
        clock=RunningClock(),
        length_s=7.0,
        on_published=published.append,
    )
    wait(recorder)
    assert [one.frames for one in chunks(published)] == [32_000, 32_000, 32_000, 16_000]
    assert published[-1].kind == "session"
    assert verify(tmp_path / "root").ok
    assert all(source.closed for source in kiosk.values())


def gaps(published, track):
    return [gap for one in chunks(published) for gap in sidecar(one)["tracks"][track]["gaps"]]


def test_a_device_that_vanishes_is_a_gap_in_its_own_track_and_ends_nothing(tmp_path, kiosk):
    kiosk["bot"] = EagerSource(device("bot", events=(Absence(3.0, 2.0),)))
    published = []
    recorder = Recorder(
        config(tmp_path / "root"),
        clock=RunningClock(),
        length_s=7.0,
        on_published=published.append,
    )
    wait(recorder)
    assert gaps(published, "user") == []
    (gap,) = gaps(published, "bot")
    assert gap["reason"] == "absent"
    # It takes the block with it that was being filled.
    assert gap["frames"] / RATE == pytest.approx(2.0, abs=0.1 + 2 / RATE)
    assert verify(tmp_path / "root").ok


def test_a_stream_that_turns_to_rubbish_is_a_gap_behind_what_came_before(tmp_path, kiosk, caplog):
    why = "the capture child's output: malformed block stream at byte 9: no block begins here"
    ended = StreamEnded(GapReason.SOURCE, why)
    at_ns = START_NS + 3 * S + 2 * LATENCY_NS
    rubbish = Handover("bot", at_ns, ended, at_ns)
    kiosk["bot"] = EagerSource([*device("bot", seconds=2.95), rubbish])
    published = []
    recorder = Recorder(
        config(tmp_path / "root"),
        clock=RunningClock(),
        length_s=7.0,
        on_published=published.append,
    )
    wait(recorder)
    assert gaps(published, "user") == []
    (gap,) = gaps(published, "bot")
    assert (gap["start_frame"], gap["reason"]) == (3 * RATE, "source")
    assert gap["frames"] == 4 * RATE
    assert any(why in line for line in caplog.messages)
    assert verify(tmp_path / "root").ok


def test_leaving_the_recorder_stops_it_and_lets_the_next_one_in(tmp_path, kiosk):
    begun = threading.Event()
    with Recorder(
        config(tmp_path / "root", chunk_seconds=1.0),
        clock=RunningClock(),
        on_published=lambda published: begun.set(),
    ):
        assert begun.wait(PATIENCE_S)
    with StorageRoot(tmp_path / "root") as root:
        assert list(root.work.iterdir()) == []
    assert verify(tmp_path / "root").ok


def test_a_root_that_is_held_is_refused_before_any_device_is_opened(tmp_path, kiosk):
    with StorageRoot(tmp_path / "root"), pytest.raises(RootHeldError):
        Recorder(config(tmp_path / "root"), clock=RunningClock())
    assert not any(source.closed for source in kiosk.values())


def test_a_failure_of_the_recorder_thread_ends_the_recorder_and_is_raised(tmp_path, kiosk):
    kiosk["bot"] = BrokenSource(device("bot"))
    recorder = Recorder(config(tmp_path / "root"), clock=RunningClock())
    with pytest.raises(RuntimeError, match="a bug"):
        wait(recorder)
    assert kiosk["user"].closed
    with StorageRoot(tmp_path / "root") as root:  # the lock was given up
        assert list(root.ready.iterdir()) == []  # nothing pretends to be whole


def test_a_disk_that_takes_nothing_to_the_end_is_told_then(tmp_path, kiosk, monkeypatch):
    def full(*arguments, **options):
        raise StoreError("creating", tmp_path, "No space left on device")

    monkeypatch.setattr(parts, "open_recording", full)
    recorder = Recorder(config(tmp_path / "root"), clock=RunningClock(), length_s=2.0)
    with pytest.raises(StoreError, match="No space left"):
        wait(recorder)
    assert all(source.closed for source in kiosk.values())


def test_a_failure_of_the_writer_thread_ends_the_recorder_and_is_raised(
    tmp_path, kiosk, monkeypatch
):
    def bug(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(parts, "open_recording", bug)
    recorder = Recorder(config(tmp_path / "root"), clock=RunningClock())
    with pytest.raises(RuntimeError, match="a bug"):
        wait(recorder)
    assert all(source.closed for source in kiosk.values())


class HangingSource(EagerSource):
    """A source whose driver does not return, until the test lets it."""

    def __init__(self, handovers):
        super().__init__(handovers)
        self.hangs = threading.Event()
        self.freed = threading.Event()

    def deliver(self, now_ns):
        if now_ns > START_NS + 5 * S:
            self.hangs.set()
            assert self.freed.wait(PATIENCE_S)
        return super().deliver(now_ns)


def test_a_recorder_thread_that_hangs_shows_in_its_vitals(tmp_path, kiosk):
    kiosk["bot"] = bot = HangingSource(device("bot"))
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:
        try:
            assert bot.hangs.wait(PATIENCE_S)
            hanging = recorder.vitals()
            assert hanging.seconds == hanging.committed / RATE > 0
            wait_for(lambda: recorder.vitals().written > hanging.written)
            assert recorder.vitals().committed == hanging.committed
            assert recorder.vitals().rounds == hanging.rounds
        finally:
            bot.freed.set()
        wait_for(lambda: recorder.vitals().committed > hanging.committed)
        assert recorder.vitals().trouble is None
    ended = recorder.vitals()
    assert ended.captured
    assert ended.seconds is None


def test_a_writer_thread_that_hangs_shows_in_the_vitals(tmp_path, kiosk):
    hangs, freed = threading.Event(), threading.Event()

    def hang(published):
        hangs.set()
        assert freed.wait(PATIENCE_S)

    with Recorder(
        config(tmp_path / "root", chunk_seconds=1.0), clock=RunningClock(), on_published=hang
    ) as recorder:
        try:
            assert hangs.wait(PATIENCE_S)
            hanging = recorder.vitals()
            wait_for(lambda: recorder.vitals().committed > hanging.committed)
            assert recorder.vitals().written == hanging.written
        finally:
            freed.set()
        wait_for(lambda: recorder.vitals().written > hanging.written)


def test_a_recorder_without_devices_is_seen_to_go_round(tmp_path, kiosk):
    kiosk.update({track: EagerSource([]) for track in TRACKS})
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:
        before = recorder.vitals()
        assert before.seconds is None
        wait_for(lambda: recorder.vitals().rounds > before.rounds)


def test_leaving_a_recorder_that_was_waited_for_tells_its_failure_no_second_time(
    tmp_path, kiosk, monkeypatch
):
    monkeypatch.setattr(parts, "open_recording", lambda *_, **__: 1 / 0)
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:  # noqa: SIM117
        with pytest.raises(ZeroDivisionError):
            wait(recorder)


def test_the_first_failure_is_the_one_that_is_told(tmp_path, kiosk):
    failures = itertools.count(1)

    def fail_too(now_ns):
        wait_for(lambda: recorder.threads.failure is not None)
        return 1 / 0

    def fail(published):
        kiosk["bot"].deliver = fail_too
        raise RuntimeError(f"failure {next(failures)}")

    recorder = Recorder(
        config(tmp_path / "root", chunk_seconds=1.0), clock=RunningClock(), on_published=fail
    )
    with pytest.raises(RuntimeError, match="failure 1"):
        wait(recorder)


def test_devices_are_read_at_once_and_levels_told_while_somebody_hears_them(running, monkeypatch):
    monkeypatch.setattr(monitor, "TICK_S", 10 * PATIENCE_S)
    rig = running()
    recorder, heard = rig.recorder, threading.Event()
    assert not recorder._pipeline._is_heard()
    wait_for(lambda: recorder._pipeline.monitor._leisurely)
    levels = recorder.announcer.subscribe([Level], notify=heard.set)
    assert recorder._pipeline._is_heard()
    rig.let_pass(5.0)
    assert heard.wait(PATIENCE_S)
    recorder.announcer.unsubscribe(levels)
    assert not recorder._pipeline._is_heard()
    ours, theirs = socket.socketpair()
    with ours:
        recorder.taps.offer("user", theirs, b"")
        assert recorder._pipeline._is_heard()


@pytest.mark.parametrize(
    ("failing", "thread"),
    [
        ((Monitor, "step"), "monitor"),
        ((DeviceWatch, "_needs_server"), "device watch"),
        ((Hooks, "step"), "hooks"),
        ((Taps, "step"), "taps"),
        ((TurnLoop, "step"), "turns"),
    ],
)
def test_whichever_thread_fails_the_recorder_ends_with_whole_files(
    tmp_path, kiosk, monkeypatch, caplog, failing, thread
):
    published = threading.Event()

    def fail(*arguments):
        published.wait(PATIENCE_S)
        raise RuntimeError("a bug")

    monkeypatch.setattr(*failing, fail)
    monkeypatch.setattr(turn_writing, "PATIENCE_S", 0.1)  # nobody judges the last turns
    root = tmp_path / "root"
    recorder = Recorder(
        config(root, chunk_seconds=1.0, enable_turn_audio=True),
        clock=RunningClock(),
        on_published=lambda file: published.set(),
    )
    with pytest.raises(RuntimeError, match="a bug"):
        wait(recorder)
    assert f"a thread has failed, the service ends thread={thread} why='a bug'" in caplog.text
    checked = verify(root)
    assert checked.ok
    assert checked.sessions == 1
    with StorageRoot(root) as storage:  # given up, with nothing left to recover
        assert list(storage.work.iterdir()) == []


def test_a_failure_that_follows_from_another_does_not_hide_it(tmp_path, kiosk, monkeypatch):
    kiosk["bot"] = BrokenSource(device("bot"))

    def fail(*arguments, **options):
        for thread in threading.enumerate():
            if thread.name == "recorder":
                thread.join(PATIENCE_S)
        raise StoreError("creating", tmp_path, "Input/output error")

    monkeypatch.setattr(parts, "open_recording", fail)
    recorder = Recorder(config(tmp_path / "root"), clock=RunningClock())
    with pytest.raises(RuntimeError, match="a bug"):
        wait(recorder)


# Several sessions of one recorder


class Running:
    """A recorder in simulated time, what it publishes and what it announces."""

    def __init__(self, root, **recording):
        self.root = root
        self.clock = PacedClock()
        self.published = []
        announcer = Announcer()
        self.reader = announcer.subscribe()
        self.recorder = Recorder(
            config(root, **recording),
            clock=self.clock,
            on_published=self.published.append,
            announcer=announcer,
        )

    def let_pass(self, seconds):
        """Let time pass, no more of it at once than the history holds."""
        while seconds > 0:
            self.clock.let_pass(min(seconds, 5.0))
            seconds -= 5.0

    def finish(self):
        """End the session; return what is then published."""
        self.recorder.stop_recording()
        self.let_pass(3.0)
        assert self.recorder.wait_until_stopped(PATIENCE_S)
        return chunks(self.published)

    def events(self):
        events = []
        while event := self.reader.take():
            events.append(event)
        assert self.reader.dropped == 0
        return events


@pytest.fixture
def running(tmp_path, kiosk):
    """Make recorders that are stopped at the end, whatever a test has found."""
    with contextlib.ExitStack() as stack:

        def run(**recording):
            rig = Running(tmp_path / "root", **recording)
            stack.enter_context(rig.recorder)
            stack.callback(rig.clock.__setattr__, "until_ns", 10**18)
            return rig

        yield run


def test_sessions_are_recorded_one_after_the_other_each_closed_when_it_is_stopped(running):
    rig = running(auto_start=False)
    rig.let_pass(2.0)
    assert rig.recorder.status()["recording"] is False
    for number in (1, 2, 3):
        assert rig.recorder.start_recording()
        assert not rig.recorder.start_recording()
        rig.let_pass(3.0)
        assert rig.recorder.status()["recording"] is True
        rig.finish()
        assert not rig.recorder.stop_recording()
        assert [one.kind for one in rig.published] == ["chunk", "session"] * number
        assert list((rig.root / ".work").iterdir()) == []
    records = [json.loads(one.path.read_text()) for one in rig.published if one.kind == "session"]
    assert [record["session_number"] for record in records] == [1, 2, 3]
    assert {record["end_reason"] for record in records} == {"stop"}
    assert all(record["frames"] == pytest.approx(3 * RATE, abs=0.2 * RATE) for record in records)
    assert verify(rig.root).ok


def test_a_recorder_that_is_not_to_start_by_itself_records_nothing(running):
    rig = running(auto_start=False)
    rig.let_pass(20.0)
    assert rig.recorder.wait_until_stopped(PATIENCE_S)
    assert rig.recorder.status()["activity"] == "idle"
    assert list((rig.root / "ready").iterdir()) == []


def test_a_pause_ends_its_chunk_and_is_a_gap_in_the_next(running):
    rig = running()
    rig.let_pass(3.0)
    for _ in range(2):
        assert rig.recorder.pause()
        assert not rig.recorder.pause()
        rig.let_pass(2.0)
        assert rig.recorder.status()["activity"] == "paused"
        assert rig.recorder.resume()
        rig.let_pass(2.0)
    first, second, third = rig.finish()
    assert [one.end_reason for one in (first, second, third)] == ["pause", "pause", "stop"]
    for track in TRACKS:
        for one in (second, third):
            (gap,) = sidecar(one)["tracks"][track]["gaps"]
            assert (gap["start_frame"], gap["reason"]) == (one.start, "pause")
            assert gap["frames"] == pytest.approx(2 * RATE, abs=0.2 * RATE)
    assert verify(rig.root).ok


def test_a_rotation_ends_the_chunk_and_the_next_follows_on_it(running):
    rig = running()
    rig.let_pass(3.0)
    rig.recorder.rotate()
    rig.let_pass(3.0)
    first, second = rig.finish()
    assert (first.end_reason, second.end_reason) == ("rotate", "stop")
    assert second.start == first.frames
    assert verify(rig.root).ok


def test_what_happens_is_announced_in_order(running, kiosk):
    kiosk["bot"] = EagerSource(device("bot", events=(Absence(3.0, 2.0),)))
    rig = running(chunk_seconds=2.0)
    rig.let_pass(9.0)
    rig.finish()
    events = rig.events()
    started, *_, stopped = [e for e in events if not isinstance(e, StateChanged)]
    assert isinstance(started, SessionStarted)
    assert isinstance(stopped, SessionStopped)
    files = [event.published for event in events if isinstance(event, FilePublished)]
    assert files == rig.published
    assert {file.session for file in files} == {started.session} == {stopped.session}
    assert stopped.frames == files[-1].frames
    (gap,) = [event for event in events if isinstance(event, GapDeclared)]
    assert (gap.track, gap.reason, gap.session) == ("bot", "absent", started.session)
    assert gap.frames == pytest.approx(2 * RATE, abs=0.2 * RATE)
    states = [e.state for e in events if isinstance(e, StateChanged) and e.of == "recorder"]
    assert [state for state in states if state != "ending"] == ["waiting", "recording", "idle"]


@pytest.mark.parametrize("ask", ["pause", "resume", "rotate"])
def test_there_is_nothing_to_pause_or_cut_without_a_session(running, ask):
    rig = running(auto_start=False)
    with pytest.raises(RefusedError) as refused:
        getattr(rig.recorder, ask)()
    assert refused.value.code == "not_recording"


def test_a_recorder_that_has_ended_begins_nothing(tmp_path, kiosk):
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:
        pass
    with pytest.raises(RefusedError) as refused:
        recorder.start_recording()
    assert refused.value.code == "stopped"
    assert recorder.wait_until_stopped(0)


def test_marked_turns_of_a_running_session_are_files_with_the_samples_of_its_chunk(tmp_path, kiosk):
    kiosk["user"] = EagerSource(device("user", world=tone(440.0)))
    clock = PacedClock()
    published = []
    recorder = Recorder(
        config(tmp_path / "root", enable_turn_audio=True),
        clock=clock,
        on_published=published.append,
    )
    clock.let_pass(4)
    start = recorder.mark("user", 0, speaking=True)
    clock.let_pass(2)
    stop = recorder.mark("user", clock.read().monotonic_ns - S // 2, speaking=False)
    assert stop - start == 1.5 * RATE
    clock.let_pass(3)
    recorder.stop()
    clock.until_ns += 10 * S
    wait(recorder)
    (turn,) = (one for one in published if one.what == "turn-user" and is_marked(one))
    described = sidecar(turn)["turn"]
    assert (described["speech_start_frame"], described["by"]) == (start, "mark")
    (chunk,) = chunks(published)
    whole = np.frombuffer(audio(chunk.path), "<i2").reshape(-1, 2)
    span = slice(turn.start, turn.start + turn.frames)
    assert np.array_equal(np.frombuffer(audio(turn.path), "<i2"), whole[span, 0])
    assert verify(tmp_path / "root").findings == ()


def test_a_running_session_can_hold_what_is_marked_and_silence_behind_it(tmp_path, kiosk):
    kiosk["user"] = EagerSource(device("user", world=tone(440.0)))
    clock = PacedClock()
    published = []
    recorder = Recorder(
        config(tmp_path / "root", user_continuous_stream=False),
        clock=clock,
        on_published=published.append,
    )
    clock.let_pass(4)
    wait_for_decided(recorder, 1)
    start = recorder.mark("user", 0, speaking=True)
    clock.let_pass(2)
    recorder.mark("user", clock.read().monotonic_ns - S // 2, speaking=False)
    stop = start + round(1.5 * RATE + 0.8 * RATE)  # with the hangover
    wait_for_decided(recorder, 3)
    clock.let_pass(3)
    recorder.stop()
    clock.until_ns += 10 * S
    wait(recorder)
    (chunk,) = chunks(published)
    assert published[-1].kind == "session"
    assert {one.kind for one in published} == {"chunk", "session"}
    user = np.frombuffer(audio(chunk.path), "<i2").reshape(-1, 2)[:, 0]
    assert np.abs(user[start:stop]).max() > 1_000
    assert np.count_nonzero(user[start:stop]) > 0.9 * (stop - start)
    assert len(user) > stop + RATE
    assert not user[stop:].any()
    assert verify(tmp_path / "root").findings == ()


def wait_for_decided(recorder, seconds):
    """Wait until the turn thread knows so much of the session, so that nobody runs away from it."""
    wait_for(lambda: recorder._pipeline.sessions.timeline.gate.decided >= seconds * RATE)


def is_marked(turn):
    return sidecar(turn)["turn"]["by"] == "mark"


def test_marks_are_refused_where_turns_are_not_recorded(tmp_path, kiosk):
    with Recorder(config(tmp_path / "root"), clock=RunningClock(), length_s=1.0) as recorder:
        with pytest.raises(RefusedError) as refused:
            recorder.mark("user", 0, speaking=True)
        assert refused.value.code == "no_turns"
