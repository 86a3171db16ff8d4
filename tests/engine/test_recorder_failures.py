"""What fails or hangs in a running recorder ends it, or shows in its vitals."""

import itertools
import threading

import pytest

from edgerec.audio import TRACKS
from edgerec.capture.devices.watch import DeviceWatch
from edgerec.engine import copying
from edgerec.engine.build import RootFiles
from edgerec.engine.engine import Engine
from edgerec.engine.turn_loop import TurnLoop
from edgerec.health.monitor import Monitor
from edgerec.service.control.server import Control
from edgerec.service.hooks import Hooks
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot
from tests.rigs.fakes import START_NS, S, config, device
from tests.rigs.recorder_rig import (
    EagerSource,
    RunningClock,
    handed,
    opening,
    surrounded,
    wait_for_end,
)
from tests.rigs.waiting import PATIENCE_S, wait_for

RATE = 16_000


class BrokenSource(EagerSource):
    """A source with a bug that shows after a while."""

    def deliver(self, now_ns):
        if now_ns > START_NS + 5 * S:
            raise RuntimeError("a bug")
        return super().deliver(now_ns)


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


def test_a_failure_of_the_recorder_thread_ends_the_recorder_and_is_raised(tmp_path, sources):
    sources["bot"] = BrokenSource(device("bot"))
    recorder = Engine(config(tmp_path / "root"), clock=RunningClock(), around=handed(sources))
    with pytest.raises(RuntimeError, match="a bug"):
        wait_for_end(recorder)
    assert sources["user"].closed
    with StorageRoot(tmp_path / "root") as root:  # the lock was given up
        assert list(root.ready.iterdir()) == []  # nothing pretends to be whole


def test_a_failure_of_the_writer_thread_ends_the_recorder_and_is_raised(
    tmp_path, sources, monkeypatch
):
    def bug(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(RootFiles, "open", bug)
    recorder = Engine(config(tmp_path / "root"), clock=RunningClock(), around=handed(sources))
    with pytest.raises(RuntimeError, match="a bug"):
        wait_for_end(recorder)
    assert all(source.closed for source in sources.values())


def test_a_disk_that_takes_nothing_to_the_end_is_told_then(tmp_path, sources, monkeypatch):
    def full(*arguments, **options):
        raise StoreError("creating", tmp_path, "No space left on device")

    monkeypatch.setattr(RootFiles, "open", full)
    recorder = Engine(
        config(tmp_path / "root"), clock=RunningClock(), length_s=2.0, around=handed(sources)
    )
    with pytest.raises(StoreError, match="No space left"):
        wait_for_end(recorder)
    assert all(source.closed for source in sources.values())


def test_who_waits_for_the_stop_is_told_when_the_last_files_can_not_be_written(
    tmp_path, sources, monkeypatch
):
    def full(*arguments, **options):
        raise StoreError("creating", tmp_path, "No space left on device")

    monkeypatch.setattr(RootFiles, "open", full)
    told = threading.Event()

    def wait():
        recorder.wait_until_stopped(threading.TIMEOUT_MAX)
        told.set()

    recorder = Engine(
        config(tmp_path / "root"), clock=RunningClock(), length_s=5.0, around=handed(sources)
    )
    threading.Thread(target=wait, daemon=True).start()
    with pytest.raises(StoreError):
        wait_for_end(recorder)
    assert told.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("failing", "thread"),
    [
        ((Monitor, "step"), "monitor"),
        ((DeviceWatch, "_needs_server"), "device watch"),
        ((Hooks, "step"), "hooks"),
        ((Control, "step"), "control"),
        ((TurnLoop, "step"), "turns"),
    ],
)
def test_whichever_thread_fails_the_recorder_ends_with_whole_files(
    tmp_path, sources, monkeypatch, caplog, failing, thread
):
    published = threading.Event()

    def fail(*arguments):
        published.wait(PATIENCE_S)
        raise RuntimeError("a bug")

    monkeypatch.setattr(*failing, fail)
    monkeypatch.setattr(copying, "PATIENCE_S", 0.1)  # nobody judges the last turns
    root = tmp_path / "root"
    settings = config(root, chunk_seconds=1.0, enable_turn_audio=True)
    clock = RunningClock()
    opens = opening(lambda track, now_ns: sources[track])
    told = lambda file: published.set()  # noqa: E731
    with surrounded(settings, clock, told, open_sources=opens) as around:
        recorder = Engine(settings, clock=clock, around=around)
        with pytest.raises(RuntimeError, match="a bug"):
            wait_for_end(recorder)
    assert f"a thread has failed, the service ends thread={thread} why='a bug'" in caplog.text
    checked = verify(root)
    assert checked.ok
    assert checked.sessions == 1
    with StorageRoot(root) as storage:  # given up, with nothing left to recover
        assert list(storage.work.iterdir()) == []


def test_the_first_failure_is_the_one_that_is_told(tmp_path, sources):
    failures = itertools.count(1)

    def fail_too(now_ns):
        return [] if recorder._around.threads.failure is None else 1 / 0

    def fail(published):
        sources["bot"].deliver = fail_too
        raise RuntimeError(f"failure {next(failures)}")

    recorder = Engine(
        config(tmp_path / "root", chunk_seconds=1.0),
        clock=RunningClock(),
        around=handed(sources, on_published=fail),
    )
    with pytest.raises(RuntimeError, match="failure 1"):
        wait_for_end(recorder)


def test_a_failure_that_follows_from_another_does_not_hide_it(tmp_path, sources, monkeypatch):
    sources["bot"] = BrokenSource(device("bot"))

    def fail(*arguments, **options):
        for thread in threading.enumerate():
            if thread.name == "recorder":
                thread.join(PATIENCE_S)
        raise StoreError("creating", tmp_path, "Input/output error")

    monkeypatch.setattr(RootFiles, "open", fail)
    recorder = Engine(config(tmp_path / "root"), clock=RunningClock(), around=handed(sources))
    with pytest.raises(RuntimeError, match="a bug"):
        wait_for_end(recorder)


def test_leaving_a_recorder_that_was_waited_for_tells_its_failure_no_second_time(
    tmp_path, sources, monkeypatch
):
    monkeypatch.setattr(RootFiles, "open", lambda *_, **__: 1 / 0)
    with (
        Engine(config(tmp_path / "root"), clock=RunningClock(), around=handed(sources)) as recorder,
        pytest.raises(ZeroDivisionError),
    ):
        wait_for_end(recorder)


def test_a_recorder_thread_that_hangs_shows_in_its_vitals(tmp_path, sources):
    sources["bot"] = bot = HangingSource(device("bot"))
    with Engine(
        config(tmp_path / "root"), clock=RunningClock(), around=handed(sources)
    ) as recorder:
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


def test_a_writer_thread_that_hangs_shows_in_the_vitals(tmp_path, sources):
    hangs, freed = threading.Event(), threading.Event()

    def hang(published):
        hangs.set()
        assert freed.wait(PATIENCE_S)

    with Engine(
        config(tmp_path / "root", chunk_seconds=1.0),
        clock=RunningClock(),
        around=handed(sources, on_published=hang),
    ) as recorder:
        try:
            assert hangs.wait(PATIENCE_S)
            hanging = recorder.vitals()
            wait_for(lambda: recorder.vitals().committed > hanging.committed)
            assert recorder.vitals().written == hanging.written
        finally:
            freed.set()
        wait_for(lambda: recorder.vitals().written > hanging.written)


def test_a_recorder_without_devices_is_seen_to_go_round(tmp_path, sources):
    sources.update({track: EagerSource([]) for track in TRACKS})
    with Engine(
        config(tmp_path / "root"), clock=RunningClock(), around=handed(sources)
    ) as recorder:
        before = recorder.vitals()
        assert before.seconds is None
        wait_for(lambda: recorder.vitals().rounds > before.rounds)
