"""What crashes have left is recovered beside the recording, whatever it is."""

import errno
import os
import threading

import pytest

from edgerec.engine import recovery
from edgerec.engine.engine import Engine
from edgerec.engine.recovery import RecoveryLoop
from edgerec.health.verdict import leftover_reasons
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot
from edgerec.store.writing import recover as recover_module
from tests.rigs.fakes import FakeClock, config
from tests.rigs.leftovers import crash, left_in
from tests.rigs.made_recordings import quiet_span
from tests.rigs.recorder_rig import RunningClock, handed, wait_for_end
from tests.rigs.waiting import PATIENCE_S, wait_for


@pytest.fixture
def loop(root):
    published = []
    loop = RecoveryLoop(root, FakeClock(), published.append)
    loop.published = published
    return loop


def unmovable(root):
    """A leftover that can't be published: its name is taken by a folder."""
    crash(root, [quiet_span(0, 40)], synced=1)
    folder = root.make_folders("kiosk=k1", "date=2026-11-22")
    taken = folder / "20261122T101500.123Z_9f3a01c2_000000_chunk.wav"
    taken.mkdir()
    return taken


def test_what_is_left_is_named_once_and_published_when_it_can_be(root, loop, caplog):
    taken = unmovable(root)
    for _ in range(3):
        loop.step()
    ((name, why),) = loop.state.left
    assert name == ".work/9f3a01c2_000000_chunk.journal"
    assert taken.name in why
    (reason,) = leftover_reasons(loop.state)
    assert (reason.code, name in reason.why) == ("recovery", True)
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 1
    taken.rmdir()
    loop.step()
    assert (loop.state.left, tuple(leftover_reasons(loop.state))) == ((), ())
    assert [one.kind for one in loop.published] == ["chunk", "session"]
    assert verify(root.path).ok


def test_what_is_quarantined_is_named_in_the_status(root, loop):
    (root.work / "stranger").touch()
    loop.step()
    assert (loop.state.left, loop.state.quarantined) == ((), ("stranger",))
    assert tuple(leftover_reasons(loop.state)) == ()


@pytest.mark.parametrize("error", [StoreError("listing", os.path, "EIO"), RecursionError()])
@pytest.mark.parametrize("where", ["recall", "_JOURNAL", "_is_regular"])
def test_whatever_goes_wrong_ends_no_thread(root, loop, monkeypatch, where, error):
    class Broken:
        def __call__(self, *arguments):
            raise error

        fullmatch = __call__

    crash(root, [quiet_span(0, 40)], synced=1)
    with monkeypatch.context() as patch:
        patch.setattr(recover_module, where, Broken())
        loop.step()
    assert loop.state.left
    loop.step()
    assert loop.state.left == ()
    assert [one.kind for one in loop.published] == ["chunk", "session"]


def test_it_is_tried_again_after_a_while_at_once_when_asked_and_not_after_the_end(
    root, loop, monkeypatch
):
    monkeypatch.setattr(recovery, "FIRST_RETRY_S", 0.01)
    taken = unmovable(root)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    wait_for(lambda: loop.state.left)
    taken.rmdir()
    wait_for(lambda: loop.published)
    wait_for(lambda: not loop.state.left)
    (root.work / "stranger").touch()  # nothing is left: it looks again when it is told to
    loop.wake()
    wait_for(lambda: loop.state.quarantined)
    loop.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_recorder_records_beside_leftovers_that_can_not_be_recovered(
    tmp_path, sources, monkeypatch
):
    with StorageRoot(tmp_path / "root") as root:
        unmovable(root)
        os.mkfifo(root.state / "drift.json")
        (root.state / "echo.json").mkdir()
        (root.state / "session.json").write_bytes(b"[" * 200_000)
        (root.work / ("x" * 250)).touch()
    recorder = Engine(
        config(tmp_path / "root"), clock=RunningClock(), length_s=5.0, around=handed(sources)
    )
    wait_for(lambda: recorder.status().storage.leftovers.waiting == 1)
    wait_for_end(recorder)
    status = recorder.status()
    assert [one.code for one in status.reasons].count("recovery") == 1
    (told,) = status.storage.leftovers.files
    assert told.file == ".work/9f3a01c2_000000_chunk.journal"
    assert len(left_in(tmp_path / "root" / ".work")) == 2
    (session,) = (tmp_path / "root" / "ready").rglob("*_session.json")
    assert "9f3a01c2" not in session.name


def test_recording_does_not_wait_for_a_recovery_that_hangs(tmp_path, sources, monkeypatch):
    freed = threading.Event()

    def hang(root, now, done):
        assert freed.wait(PATIENCE_S)
        yield

    monkeypatch.setattr(recovery, "recover_each", hang)
    published = []
    recorder = Engine(
        config(tmp_path / "root", chunk_seconds=1.0),
        clock=RunningClock(),
        length_s=5.0,
        around=handed(sources, on_published=published.append),
    )
    wait_for(lambda: [one.kind for one in published].count("session") == 1)
    freed.set()
    wait_for_end(recorder)


def test_a_full_disk_at_the_start_is_waited_out(root, loop, monkeypatch):
    crash(root, [quiet_span(0, 40)], synced=1)

    def full(path, data):
        raise StoreError("creating", path, "No space left on device", errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr("edgerec.store.disk.write_new", full)
        loop.step()
    assert len(loop.state.left) == 1
    assert left_in(root.quarantine) == []
    loop.step()
    assert [one.kind for one in loop.published] == ["chunk", "session"]


def test_no_two_files_are_told_of_at_a_time(tmp_path, sources):
    """Whoever is told may rely on it, though two threads publish."""
    with StorageRoot(tmp_path / "root") as root:
        crash(root, [quiet_span(0, 40)], synced=1)
    recorders, told = [], []

    def note(published):
        wait_for(lambda: recorders)
        told.append(
            (threading.current_thread().name, recorders[0]._parts.files._reporting.locked())
        )

    recorders.append(
        Engine(
            config(tmp_path / "root", chunk_seconds=1.0),
            clock=RunningClock(),
            around=handed(sources, on_published=note),
        )
    )
    wait_for(lambda: {name for name, _ in told} == {"writer", "recovery"})
    recorders[0].stop()
    wait_for_end(recorders[0])
    assert set(told) == {("writer", True), ("recovery", True)}
