"""The writer thread: what is committed reaches the disk, and what it is too late for is said."""

import json
import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from edgerec.audio import GapReason, TimelineFrame, TrackReport
from edgerec.engine import writer_loop
from edgerec.engine.copying import CATCH_UP_S
from edgerec.engine.writer_loop import WRITE_S
from edgerec.store.archive.verify import verify
from edgerec.store.records.naming import Session
from tests.rigs.fakes import S
from tests.rigs.made_recordings import chunks, sidecar
from tests.rigs.turn_rig import RATE
from tests.rigs.waiting import PATIENCE_S, wait_for
from tests.rigs.writer_rig import RING_S, SYNC_S, Rig, samples


@pytest.fixture
def rig(root):
    return Rig(root)


def test_nothing_is_opened_before_a_session_begins(rig):
    rig.loop.step()
    rig.loop.over()
    rig.loop.run()
    assert rig.opened == 0


def test_what_is_committed_by_the_stop_is_published_with_a_closing_record(rig):
    rig.loop.begun(rig.timeline)
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
    rig.loop.begun(rig.timeline)
    rig.record(1)
    rig.stop()
    rig.loop.step()
    rig.loop.step()
    assert len(rig.published) == 2


def test_close_writes_what_is_committed_by_then(rig):
    rig.loop.begun(rig.timeline)
    rig.record(2)
    rig.loop.over()
    rig.loop.run()
    assert rig.recording.position == 2 * RATE
    assert rig.published == []  # nobody has ended the session: recovery finds it in .work


def test_the_thread_is_woken_for_a_begin_for_enough_to_write_and_for_an_end(rig):
    rig.loop.begun(rig.timeline)
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
    rig.loop.begun(rig.timeline)
    rig.record(1)
    rig.loop.committed(rig.timeline)
    wait_for(lambda: rig.loop.state.progress.written == rig.history.committed)
    wait_for(lambda: not rig.loop._awake.is_set())
    rig.loop.over()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_what_the_ring_no_longer_holds_is_declared_lost_to_the_disk(rig):
    rig.loop.begun(rig.timeline)
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
    assert after.start_frame == 2 * RATE + lost
    assert np.array_equal(samples(after), rig.recorded[:, after.start_frame :])
    (closing,) = [one for one in rig.published if one.kind == "session"]
    assert json.loads(closing.path.read_text())["losses"] == {"disk": lost}
    assert verify(rig.root.path).ok


def test_a_writer_that_was_lapped_skips_no_further_than_there_is_audio(rig):
    rig.loop.begun(rig.timeline)
    rig.loop.step()
    rig.record(RING_S - 1)
    rig.history.append(0, np.zeros(RING_S * RATE - 10, np.int16))  # not yet committed
    rig.loop.step()
    assert rig.recording.position == rig.history.committed


def test_reports_and_gaps_reach_the_sidecar(rig):
    rig.loop.begun(rig.timeline)
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

    position = missing_frames = unpublished = resumes_at = durable = 0
    ended = False
    quarantined = ()
    session = Session("5e550000", 1, None, "k1")
    syncs = 0

    def sync(self):
        self.syncs += 1

    def publish_due(self):
        pass


@pytest.mark.parametrize("step_ms", [250, 300, 500, 750, 1000, 1500])
def test_what_was_written_is_made_durable_at_the_steps_nearest_to_what_is_asked(rig, step_ms):
    recording = CountingRecording()
    loop = rig.writer_loop(files=SimpleNamespace(open=lambda plan, timeline: recording))
    loop.begun(rig.timeline)
    steps = 40
    for _ in range(steps):
        rig.clock.raw_ns += step_ms * S // 1000
        loop.step()
    every = max(1, round(SYNC_S * 1000 / step_ms))
    assert recording.syncs == math.ceil(steps / every)  # the first step's, too
