"""Publishing that fails costs no audio: what is whole waits in the work folder, and is said."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgerec.engine.retrying import FIRST_RETRY_S
from edgerec.engine.writer_loop import LAST_PUBLISH_RETRY_S
from edgerec.session.timeline import SessionTimeline
from edgerec.store import disk
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.writing import chunk
from edgerec.store.writing.file_sequence import MAX_TRIES
from edgerec.store.writing.recording import PUBLISHED_AT_ONCE, Recording, RecordingForm
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from edgerec.sync.history import History
from tests.rigs.fakes import S
from tests.rigs.leftovers import NOW
from tests.rigs.made_recordings import FOREVER, chunks
from tests.rigs.turn_rig import RATE, stamp_of
from tests.rigs.writer_rig import Rig, samples


class PublishingRig(Rig):
    """A rig with chunks of two seconds, which are published beside the writing."""

    def open(self, plan, timeline):
        self.opened += 1
        self.recording = Recording(
            self.root,
            self.root.open_session("k1"),
            RecordingForm(
                Layout(RATE, num_channels=2),
                Cutting(chunk_frames=2 * RATE, max_file_frames=FOREVER),
            ),
            timeline.stamp_of,
            self.published.append,
            publishes=False,
        )
        return self.recording

    def run(self, seconds):
        for _ in range(seconds):
            self.record(1)
            self.clock.raw_ns += S
            self.loop.step()

    def idle(self, seconds):
        for _ in range(seconds):
            self.clock.raw_ns += S
            self.loop.step()

    def begin_next(self):
        """Begin another session, on a history of its own."""
        self.history = History(30 * RATE)
        self.recorded = np.zeros((2, 0), np.int16)
        self.timeline = SessionTimeline(RATE, self.history, stamp_of, self.timeline.reports)
        self.loop.begun(self.timeline)


@pytest.fixture
def rig(root):
    rig = PublishingRig(root, ring_s=5)
    rig.loop.begun(rig.timeline)
    return rig


def refused(path, *how, **options):
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def remove(root, patch):
    shutil.rmtree(root.ready)


def move_away(root, patch):
    root.ready.rename(root.path / "elsewhere")


def remove_for_long(root, patch):
    shutil.rmtree(root.ready)
    patch.setattr(Path, "mkdir", refused)


def put_file_there(root, patch):
    shutil.rmtree(root.ready)
    root.ready.touch()


def give_to_root(root, patch):
    def rename(source, target, real=os.rename):
        if root.ready in target.parents:
            refused(target)
        real(source, target)

    patch.setattr("edgerec.store.disk._rename_noreplace", rename)


WAYS = [remove, move_away, remove_for_long, put_file_there, give_to_root]


@pytest.mark.parametrize("spoil", WAYS)
def test_whatever_becomes_of_ready_not_a_frame_is_lost(rig, root, monkeypatch, spoil):
    """For many times as long as the ring holds."""
    rig.run(5)
    with monkeypatch.context() as patch:
        spoil(root, patch)
        rig.run(60)
        assert rig.loop.state.progress.lost_frames == 0
        assert rig.loop.state.trouble is None
        assert rig.loop.state.progress.written == rig.history.committed
        if spoil not in (remove, move_away):
            assert rig.loop.state.unpublishable is not None
            assert rig.loop.state.unpublished == 30
    if root.ready.is_file():
        root.ready.unlink()
    rig.run(40)
    assert rig.loop.state.unpublishable is None
    rig.stop()
    rig.loop.step()
    held = np.concatenate([samples(one) for one in chunks(rig.published) if one.path.exists()], 1)
    gone = rig.recorded.shape[1] - held.shape[1]
    assert gone in (0, 4 * RATE)  # what was published before somebody took it away
    assert np.array_equal(held, rig.recorded[:, gone:])
    assert [one.kind for one in rig.published].count("session") == 1
    assert list(root.work.iterdir()) == []
    assert gone or verify(root.path).ok


def test_publishing_is_tried_less_and_less_often(rig, root, monkeypatch):
    tried_s = []

    def refuse(*arguments, **options):
        tried_s.append(rig.clock.raw_ns / S)
        raise StoreError("publishing", root.ready, "Permission denied", errno.EACCES)

    monkeypatch.setattr("edgerec.store.writing.file_sequence.publish_leftover", refuse)
    rig.run(3)
    for _ in range(600):
        rig.clock.raw_ns += S // 4
        rig.loop.step()
    waits = np.diff(tried_s)
    assert waits.min() >= FIRST_RETRY_S
    assert waits[-1] == LAST_PUBLISH_RETRY_S


@pytest.mark.parametrize("what", ["publishing", "writing"])
def test_recovery_is_woken_when_the_disk_works_again(rig, root, monkeypatch, what):
    """What crashes left may have waited for the same, and would be tried in ten minutes only."""
    woken = []
    rig.recover = lambda: woken.append(rig.clock.raw_ns)
    rig.run(3)
    with monkeypatch.context() as patch:
        if what == "publishing":
            shutil.rmtree(root.ready)
            root.ready.touch()
        else:
            patch.setattr("edgerec.store.writing.recording.Recording.write", fail_to_write)
        rig.run(10)
        assert woken == []
    if what == "publishing":
        root.ready.unlink()
    rig.run(round(LAST_PUBLISH_RETRY_S) + 1)
    assert len(woken) == 1


def fail_to_write(*_):
    raise StoreError("writing", Path("x"), "Input/output error", errno.EIO)


def test_it_is_told_once_and_when_it_is_over(rig, root, caplog):
    shutil.rmtree(root.ready)
    root.ready.touch()
    rig.run(20)
    root.ready.unlink()
    rig.idle(40)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "files wait in .work" in caplog.text


def test_an_error_of_any_kind_is_one_of_publishing(rig, monkeypatch):
    def bug(*arguments, **options):
        raise OverflowError("date value out of range")

    monkeypatch.setattr("edgerec.store.writing.file_sequence.publish_leftover", bug)
    rig.run(10)
    assert "date value out of range" in rig.loop.state.unpublishable
    assert rig.loop.state.progress.written == rig.history.committed


def test_a_chunk_with_a_bad_sector_holds_up_the_others_for_minutes_only(
    rig, root, monkeypatch, caplog
):
    bad = []

    def fingerprint_of(audio, real=chunk.fingerprint):
        if audio.name.endswith("_000001_chunk.wav"):
            bad.append(audio)
            raise StoreError("reading", audio, "Input/output error", errno.EIO)
        return real(audio)

    monkeypatch.setattr(chunk, "fingerprint", fingerprint_of)
    rig.run(200)
    assert len(bad) == MAX_TRIES
    assert rig.loop.state.unpublishable is None
    names = [name.split("_", 1)[1] for name in rig.loop.state.quarantined]
    assert names == ["000001_chunk.journal", "000001_chunk.wav"]
    assert "beyond repair, kept in quarantine" in caplog.text
    rig.stop()
    rig.loop.step()
    assert [one.sequence for one in chunks(rig.published)] == [0, *range(2, 100)]
    (record,) = root.ready.rglob("*_session.json")
    assert json.loads(record.read_text())["losses"] == {"disk": 2 * RATE}
    assert list(root.work.iterdir()) == []


def test_a_chunk_of_which_a_part_can_not_be_moved_yet_is_set_aside_later_and_never_counted(
    rig, root, monkeypatch
):
    def fingerprint_of(audio):
        raise StoreError("reading", audio, "Input/output error", errno.EIO)

    def rename(source, target, real=disk._rename_noreplace):
        if source.suffix == ".wav":
            refused(source)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(chunk, "fingerprint", fingerprint_of)
        with monkeypatch.context() as inner:
            inner.setattr(disk, "_rename_noreplace", rename)
            rig.run(200)
            assert "Permission denied" in rig.loop.state.unpublishable
            assert len(list(root.quarantine.glob("*.journal"))) == 1
        rig.run(40)
        assert len(list(root.quarantine.glob("*.wav"))) == 1
    rig.stop()
    rig.idle(60)
    (record,) = root.ready.rglob("*_session.json")
    assert json.loads(record.read_text())["losses"] == {"disk": 2 * RATE}


def test_what_is_not_a_chunk_s_own_fault_never_quarantines_it(rig, root, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    rig.run(240)
    assert rig.loop.state.quarantined == ()
    assert rig.loop.state.unpublished == 120
    monkeypatch.undo()
    rig.idle(30)
    rig.stop()
    rig.loop.step()
    assert len(chunks(rig.published)) == 120


def test_a_session_that_can_not_be_published_makes_way_for_the_next(rig, root, monkeypatch):
    left = []
    rig.recover = lambda: left.append(rig.recording.session)
    rig.run(5)
    shutil.rmtree(root.ready)
    root.ready.touch()
    rig.run(5)
    rig.stop()
    rig.idle(5)
    assert (rig.loop.unwritten, left) == (1, [])  # nothing waits for it: it is tried again
    first = rig.recording.session
    rig.begin_next()
    rig.run(5)
    assert left == [first]
    assert rig.recording.session != first
    assert rig.loop.state.progress.written == rig.history.committed
    root.ready.unlink()
    done = recover(root, NOW)
    assert {one.session for one in done.published} == {first.id}
    assert [one.kind for one in done.published] == ["chunk"] * 3 + ["session"]
    assert (done.published[-1].frames, done.published[-1].end_reason) == (10 * RATE, "stop")
    rig.stop()
    rig.idle(40)
    assert list(root.work.iterdir()) == []


def test_the_rest_of_a_session_is_published_at_once_and_seen_to_get_on(rig, root):
    shutil.rmtree(root.ready)
    root.ready.touch()
    rig.run(60)
    root.ready.unlink()
    rig.stop()
    rig.clock.raw_ns += round(LAST_PUBLISH_RETRY_S) * S
    rounds = rig.loop._rounds
    rig.loop.step()
    assert rig.loop.unwritten == 0
    assert len(chunks(rig.published)) == 30
    assert rig.loop._rounds - rounds > 30 / PUBLISHED_AT_ONCE


def test_a_session_that_can_not_be_published_to_the_end_is_told_then(rig, root):
    rig.run(5)
    shutil.rmtree(root.ready)
    root.ready.touch()
    rig.stop()
    rig.loop.over()
    with pytest.raises(StoreError, match="File exists"):
        rig.loop.run()
    root.ready.unlink()
    root.leave_session(rig.recording.session)
    frames = sum(one.frames for one in chunks(recover(root, NOW).published + rig.published))
    assert frames == 5 * RATE


def test_a_state_folder_that_takes_nothing_costs_no_audio(root, monkeypatch):
    def refuse(path, data):
        if path.parent == root.state:
            raise StoreError("creating", path, "Permission denied", errno.EACCES)
        return real(path, data)

    real = disk.replace
    monkeypatch.setattr(disk, "replace", refuse)
    rig = PublishingRig(root, ring_s=5)
    rig.loop.begun(rig.timeline)
    rig.run(30)
    assert rig.loop.state.progress.written == rig.history.committed
    assert rig.loop.state.progress.lost_frames == 0
    assert "Permission denied" in rig.loop.state.unpublishable
    monkeypatch.undo()
    rig.stop()
    rig.idle(40)
    assert len(chunks(rig.published)) == 15
    assert verify(root.path).ok
