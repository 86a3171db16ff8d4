import errno
import json
import os
import threading

import numpy as np
import pytest

from edgerec.audio import GapReason, Stamp, TimelineFrame, TrackReport
from edgerec.service import writer_loop
from edgerec.service.timeline import SessionTimeline
from edgerec.service.writer_loop import (
    CATCH_UP_S,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    WRITE_S,
    WriterLoop,
)
from edgerec.store.cutting import Cutting
from edgerec.store.disk import StoreError
from edgerec.store.layout import Layout
from edgerec.store.naming import Session
from edgerec.store.root import StorageRoot
from edgerec.store.verify import verify
from edgerec.store.writer import Recording
from edgerec.sync.ring import History
from tests.kiosk import START_NS, FakeClock, S
from tests.recordings import audio, chunks, sidecar
from tests.test_recorder import PATIENCE_S, wait_for

RATE = 8_000
RING_S = 30
STALL_S = 30
SYNC_S = 1.0


def stamp_of(frame):
    since_ns = frame * S // RATE
    return Stamp(1_795_342_500 * S + since_ns, True, 0.5, 1_000 * S + since_ns, "boot")


class Rig:
    """A writer loop on a history that the test fills, and a real storage root."""

    def __init__(self, root, ring_s=RING_S):
        self.root = root
        self.clock = FakeClock()
        self.published = []
        self.opened = 0
        self.history = History(round(ring_s * RATE))
        reports = {"user": TrackReport("mic"), "bot": TrackReport("loopback")}
        self.timeline = SessionTimeline(RATE, self.history, stamp_of, reports)
        self.loop = WriterLoop(self.clock, open_recording=self.open, sync_s=SYNC_S)
        self.recorded = np.zeros((2, 0), np.int16)

    def open(self, timeline):
        self.opened += 1
        layout = Layout(RATE, num_channels=2)
        cutting = Cutting(chunk_frames=None, max_file_frames=10**9)
        session = self.root.open_session("k1")
        self.recording = Recording(
            self.root, session, layout, cutting, timeline.stamp_of, self.published.append
        )
        return self.recording

    def record(self, seconds):
        """Let the recorder thread commit so much, in the steps that it takes."""
        for _ in range(round(seconds)):
            self.commit(RATE)

    def commit(self, frames):
        rng = np.random.default_rng(self.history.committed)
        pcm = rng.integers(-9_000, 9_000, (2, frames), np.int16)
        for track in range(2):
            self.history.append(track, pcm[track])
        self.history.commit(self.history.end(0))
        self.recorded = np.concatenate((self.recorded, pcm), axis=1)

    def wakes(self):
        """Whether what is committed by now is worth a step of the thread."""
        self.loop.committed(self.timeline)
        woken = self.loop._awake.is_set()
        self.loop._awake.clear()
        return woken

    def stop(self):
        self.timeline.stop = self.history.committed


@pytest.fixture
def rig(tmp_path):
    with StorageRoot(tmp_path / "root") as root:
        yield Rig(root)


def samples(published):
    return np.frombuffer(audio(published.path), "<i2").reshape(-1, 2).T


def test_nothing_is_opened_before_a_session_begins(rig):
    rig.loop.step()
    rig.loop.close()
    rig.loop.run()
    assert rig.opened == 0


def test_what_is_committed_by_the_stop_is_published_with_a_closing_record(rig):
    rig.loop.begin(rig.timeline)
    rig.record(3)
    rig.loop.step()
    rig.record(2)
    rig.stop()
    rig.loop.step()
    (chunk,) = chunks(rig.published)
    assert np.array_equal(samples(chunk), rig.recorded)
    assert [one.what for one in rig.published] == ["chunk", "session"]
    assert rig.opened == 1


def test_a_session_that_has_ended_is_written_no_more(rig):
    rig.loop.begin(rig.timeline)
    rig.record(1)
    rig.stop()
    rig.loop.step()
    rig.loop.step()
    assert len(rig.published) == 2


def test_close_writes_what_is_committed_by_then(rig):
    rig.loop.begin(rig.timeline)
    rig.record(2)
    rig.loop.close()
    rig.loop.run()
    assert rig.recording.position == 2 * RATE
    assert rig.published == []  # nobody has ended the session: recovery finds it in .work


def test_the_thread_is_woken_for_a_begin_for_enough_to_write_and_for_an_end(rig):
    rig.loop.begin(rig.timeline)
    assert rig.wakes()
    rig.loop.step()
    rig.commit(round(WRITE_S * RATE) - 1)
    assert not rig.wakes()
    rig.commit(1)
    assert rig.wakes()
    rig.loop.step()
    assert not rig.wakes()
    rig.stop()
    assert rig.wakes()


def test_a_thread_that_is_woken_waits_for_no_timer_and_then_sleeps_again(rig, monkeypatch):
    monkeypatch.setattr(writer_loop, "IDLE_S", 10 * PATIENCE_S)
    thread = threading.Thread(target=rig.loop.run, daemon=True)
    thread.start()
    rig.loop.begin(rig.timeline)
    rig.record(1)
    rig.loop.committed(rig.timeline)
    wait_for(lambda: rig.loop.state.written == rig.history.committed)
    wait_for(lambda: not rig.loop._awake.is_set())
    rig.loop.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_what_the_ring_no_longer_holds_is_declared_lost_to_the_disk(rig):
    rig.loop.begin(rig.timeline)
    rig.record(2)
    rig.loop.step()
    rig.record(RING_S + 3)  # while the disk did not answer
    rig.loop.step()
    rig.stop()
    rig.loop.step()
    lost = round((3 + CATCH_UP_S) * RATE)
    before, after = chunks(rig.published)
    assert (before.end_reason, before.frames) == ("disk", 2 * RATE)
    assert sidecar(after)["missing_before"] == lost
    assert after.start == 2 * RATE + lost
    assert np.array_equal(samples(after), rig.recorded[:, after.start :])
    (closing,) = [one for one in rig.published if one.kind == "session"]
    assert json.loads(closing.path.read_text())["losses"] == {"disk": lost}
    assert verify(rig.root.path).ok


def test_a_writer_that_was_lapped_skips_no_further_than_there_is_audio(rig):
    rig.loop.begin(rig.timeline)
    rig.loop.step()
    rig.record(RING_S - 1)
    rig.history.append(0, np.zeros(RING_S * RATE - 10, np.int16))  # not yet committed
    rig.loop.step()
    assert rig.recording.position == rig.history.committed


def test_reports_and_gaps_reach_the_sidecar(rig):
    rig.loop.begin(rig.timeline)
    rig.record(2)
    rig.history.append(0, np.zeros(RATE, np.int16))
    rig.history.silence(1, RATE, GapReason.STALL)
    rig.history.commit(TimelineFrame(3 * RATE))
    rig.timeline.reports = {
        "user": TrackReport("mic", 31.25, 18.0, 0),
        "bot": TrackReport("loopback", -12.5, 40.0, 96),
    }
    rig.stop()
    rig.loop.step()
    (chunk,) = chunks(rig.published)
    tracks = sidecar(chunk)["tracks"]
    assert (tracks["user"]["drift_ppm"], tracks["user"]["residual_us"]) == (31.25, 18.0)
    assert (tracks["bot"]["device"], tracks["bot"]["late_frames"]) == ("loopback", 96)
    assert tracks["user"]["gaps"] == []
    gap = {"start_frame": 2 * RATE, "frames": RATE, "reason": "stall"}
    assert tracks["bot"]["gaps"] == [gap]


class CountingRecording:
    """Counts how often it is made durable."""

    position = missing_frames = unpublished = 0
    session = Session("5e550000", 1, None, "k1")
    syncs = 0

    def sync(self):
        self.syncs += 1

    def publish_due(self):
        pass


def test_what_was_written_is_made_durable_as_often_as_asked(rig):
    recording = CountingRecording()
    loop = WriterLoop(rig.clock, open_recording=lambda timeline: recording, sync_s=SYNC_S)
    loop.begin(rig.timeline)
    steps, seconds = 40, 10
    for _ in range(steps):
        rig.clock.raw_ns += seconds * S // steps
        loop.step()
    assert recording.syncs == seconds / SYNC_S


class Unreliable:
    """The disk below a recording: takes nothing while it is told not to."""

    def __init__(self, monkeypatch):
        self.works = True
        for name in ("open", "write", "pwrite", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.taken_or_not(getattr(os, name)))

    def taken_or_not(self, real):
        def call(*arguments, **how):
            if not self.works:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **how)

        return call


def record_with_trouble(rig, disk, trouble_s):
    """Ten seconds, the trouble, and ten seconds more, in steps of one second."""
    rig.loop.begin(rig.timeline)
    for works, seconds in ((True, 10), (False, trouble_s), (True, 10)):
        disk.works = works
        for _ in range(seconds):
            rig.record(1)
            rig.clock.raw_ns += S
            rig.loop.step()
    rig.stop()
    rig.loop.step()


def test_a_disk_that_takes_nothing_for_30_s_costs_nothing(tmp_path, monkeypatch, caplog):
    with StorageRoot(tmp_path / "root") as root:
        rig = Rig(root, ring_s=STALL_S + LAST_RETRY_S)
        record_with_trouble(rig, Unreliable(monkeypatch), STALL_S)
        held = np.concatenate([samples(chunk) for chunk in chunks(rig.published)], axis=1)
        assert np.array_equal(held, rig.recorded)
        assert [chunk.end_reason for chunk in chunks(rig.published)] == ["disk", "stop"]
        assert rig.loop.state.lost_frames == 0
        assert verify(rig.root.path).ok
    said = [record.levelname for record in caplog.records]
    assert said == ["ERROR", "WARNING"]  # once when it fails and once when it works again


def test_what_the_disk_does_not_take_for_60_s_is_declared_and_nothing_else_is_lost(
    tmp_path, monkeypatch
):
    with StorageRoot(tmp_path / "root") as root:
        rig = Rig(root, ring_s=STALL_S + LAST_RETRY_S)
        record_with_trouble(rig, Unreliable(monkeypatch), 60)
        before, after = map(sidecar, chunks(rig.published))
        lost = after["missing_before"]
        beyond_ring_s = 60 - STALL_S - LAST_RETRY_S
        retried_late_s = LAST_RETRY_S + 1  # of which the last step brings one second
        least, most = beyond_ring_s, beyond_ring_s + retried_late_s + CATCH_UP_S
        assert least * RATE <= lost <= most * RATE
        assert before["frames"] + lost + after["frames"] == rig.recorded.shape[1]
        assert rig.loop.state.lost_frames == lost
        assert verify(rig.root.path).ok


def test_trouble_is_told_while_it_lasts(rig, monkeypatch):
    disk = Unreliable(monkeypatch)
    rig.loop.begin(rig.timeline)
    rig.record(1)
    rig.loop.step()
    assert rig.loop.state.trouble is None
    disk.works = False
    rig.record(1)
    rig.clock.raw_ns += S
    rig.loop.step()
    assert "Input/output error" in rig.loop.state.trouble
    assert rig.loop.state.since_ns == rig.clock.raw_ns
    disk.works = True
    rig.clock.raw_ns += S
    rig.loop.step()
    assert rig.loop.state.trouble is None


def test_a_failing_disk_is_asked_less_and_less_often(rig, monkeypatch):
    disk = Unreliable(monkeypatch)
    disk.works = False
    rig.loop.begin(rig.timeline)
    asked_s = []
    for _ in range(120):
        before = rig.opened
        rig.loop.step()
        if rig.opened > before:
            asked_s.append((rig.clock.raw_ns - START_NS) / S)
        rig.clock.raw_ns += S // 4
    waits = np.diff(asked_s)
    assert waits[0] == FIRST_RETRY_S
    assert waits.max() == waits[-1] == LAST_RETRY_S


def test_a_disk_that_fails_at_the_end_ends_the_thread_with_what_failed(rig, monkeypatch):
    disk = Unreliable(monkeypatch)
    rig.loop.begin(rig.timeline)
    rig.record(1)
    rig.stop()
    disk.works = False
    rig.loop.close()
    with pytest.raises(StoreError, match="Input/output error"):
        rig.loop.run()


def test_housekeeping_goes_on_while_the_disk_is_in_trouble(rig, monkeypatch):
    """It may be what makes room."""
    disk = Unreliable(monkeypatch)
    disk.works = False
    seen = []
    loop = WriterLoop(rig.clock, open_recording=rig.open, sync_s=SYNC_S, housekeeping=seen.append)
    loop.begin(rig.timeline)
    for _ in range(3):
        loop.step()
    assert len(seen) == 3
