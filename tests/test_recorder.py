"""The threads together, on devices that deliver as fast as they are asked."""

import itertools
import os
import threading
import time

import pytest

from edgerec.audio import TRACKS, GapReason, StreamEnded
from edgerec.capture.faults import Absence
from edgerec.capture.virtual_device import Handover
from edgerec.service import parts
from edgerec.service.recorder import Recorder
from edgerec.store.disk import StoreError
from edgerec.store.root import RootHeldError, StorageRoot
from edgerec.store.verify import verify
from tests.kiosk import LATENCY_NS, START_NS, FakeClock, FakeSource, S, config, device
from tests.recordings import chunks, sidecar

RATE = 16_000
PATIENCE_S = 10.0  # of real time; nothing here should take a second


class RunningClock(FakeClock):
    """A clock on which a tenth of a second passes whenever the recorder thread looks at it."""

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            self.raw_ns += S // 10
        return self.raw_ns


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


def eventually(is_so):
    """Wait until something is so; a busy machine may take its time."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.01)


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
            eventually(lambda: recorder.vitals().written > hanging.written)
            assert recorder.vitals().committed == hanging.committed
            assert recorder.vitals().rounds == hanging.rounds
        finally:
            bot.freed.set()
        eventually(lambda: recorder.vitals().committed > hanging.committed)
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
            eventually(lambda: recorder.vitals().committed > hanging.committed)
            assert recorder.vitals().written == hanging.written
        finally:
            freed.set()
        eventually(lambda: recorder.vitals().written > hanging.written)


def test_a_recorder_without_devices_is_seen_to_go_round(tmp_path, kiosk):
    kiosk.update({track: EagerSource([]) for track in TRACKS})
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:
        before = recorder.vitals()
        assert before.seconds is None
        eventually(lambda: recorder.vitals().rounds > before.rounds)


def test_leaving_a_recorder_that_was_waited_for_tells_its_failure_no_second_time(
    tmp_path, kiosk, monkeypatch
):
    monkeypatch.setattr(parts, "open_recording", lambda *_, **__: 1 / 0)
    with Recorder(config(tmp_path / "root"), clock=RunningClock()) as recorder:  # noqa: SIM117
        with pytest.raises(ZeroDivisionError):
            wait(recorder)


def test_the_first_failure_is_the_one_that_is_told(tmp_path, kiosk):
    failures = itertools.count(1)

    def fail(published):
        kiosk["bot"].deliver = lambda now_ns: 1 / 0  # what comes of it later
        raise RuntimeError(f"failure {next(failures)}")

    recorder = Recorder(
        config(tmp_path / "root", chunk_seconds=1.0), clock=RunningClock(), on_published=fail
    )
    with pytest.raises(RuntimeError, match="failure 1"):
        wait(recorder)


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
