"""What is captured and not durable is known whatever the disk does, without its help."""

import errno
import os
import threading

import pytest

from edgerec.session.timeline import Backlog, WritingProgress, backlog_of
from edgerec.store.writing.recording import Recording
from tests.rigs.fakes import S
from tests.rigs.turn_rig import RATE, stamp_of
from tests.rigs.waiting import PATIENCE_S, wait_for
from tests.rigs.writer_rig import RING_S, Rig

OVERFLOW_S = 5


@pytest.fixture
def rig(root):
    return Rig(root)


def steps(rig, seconds):
    for _ in range(seconds):
        rig.record(1)
        rig.clock.raw_ns += S
        rig.loop.step()


def fail(monkeypatch, names, number):
    def failing(*arguments, **how):
        raise OSError(number, os.strerror(number))

    for name in names:
        monkeypatch.setattr(os, name, failing)


def test_nothing_is_behind_while_there_is_nothing_to_write(rig):
    assert rig.loop.backlog() == Backlog()


def test_what_is_captured_counts_from_the_session_on_though_no_file_was_ever_opened(rig):
    rig.loop.begun(rig.timeline)
    rig.record(4)
    assert rig.loop.backlog() == Backlog(4.0, stamp_of(0).monotonic_ns)


def test_what_was_synced_is_no_longer_behind(rig):
    rig.loop.begun(rig.timeline)
    steps(rig, 3)
    assert rig.loop.backlog() == Backlog()
    rig.record(2)
    assert rig.loop.backlog() == Backlog(2.0, stamp_of(3 * RATE).monotonic_ns)


FAILURES = {
    "full": (("write",), errno.ENOSPC),
    "no inodes": (("open",), errno.ENOSPC),
    "read-only": (("open", "write"), errno.EROFS),
    "syncs fail": (("fsync", "fdatasync"), errno.EIO),
    "broken": (("open", "write", "pwrite", "fsync", "fdatasync"), errno.EIO),
}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("before_s", [0, 10])
def test_a_disk_that_takes_nothing_is_behind_at_once_and_loses_when_the_ring_overflows(
    rig, monkeypatch, kind, before_s
):
    rig.loop.begun(rig.timeline)
    steps(rig, before_s)
    with monkeypatch.context() as patch:
        fail(patch, *FAILURES[kind])
        rig.timeline.cut(rig.history.committed, "rotate")  # the next chunk needs a new file
        steps(rig, RING_S - 1)
        behind = rig.loop.backlog()
        assert behind.lag_s == pytest.approx(RING_S - 1, abs=1)
        assert (behind.lost_frames, behind.losing) == (0, False)
        steps(rig, 1 + OVERFLOW_S)
        behind = rig.loop.backlog()
        assert behind.losing
        assert behind.lost_frames == pytest.approx(OVERFLOW_S * RATE, abs=RATE)
    counted = behind.lost_frames
    steps(rig, 6)  # the longest wait for the next try, and one that succeeds
    behind = rig.loop.backlog()
    assert not behind.losing
    assert behind.lag_s <= 1
    assert counted <= behind.lost_frames <= counted + 7 * RATE  # declared, with what comes on top


def test_a_disk_that_hangs_in_one_call_is_behind_and_loses_though_nothing_has_failed(
    rig, monkeypatch
):
    held, inside = threading.Event(), threading.Event()
    real = os.fdatasync

    def hanging(fd):
        inside.set()
        assert held.wait(PATIENCE_S)
        real(fd)

    thread = threading.Thread(target=rig.loop.run, daemon=True)
    rig.loop.begun(rig.timeline)
    steps(rig, 5)
    monkeypatch.setattr(os, "fdatasync", hanging)
    rig.record(1)
    rig.clock.raw_ns += S
    thread.start()
    rig.loop.committed(rig.timeline)
    assert inside.wait(PATIENCE_S)
    rig.record(RING_S + OVERFLOW_S)
    behind = rig.loop.backlog()
    assert behind.losing
    assert behind.lag_s == RING_S + OVERFLOW_S + 1
    assert behind.lost_frames == OVERFLOW_S * RATE
    assert rig.loop.state.trouble is None  # nobody has said so
    held.set()
    rig.loop.committed(rig.timeline)
    wait_for(lambda: rig.loop.state.progress.written == rig.history.committed)
    assert not rig.loop.backlog().losing
    assert rig.loop.backlog().lost_frames >= OVERFLOW_S * RATE
    rig.loop.over()
    thread.join(PATIENCE_S)


def test_losses_never_go_back_while_a_disk_comes_and_goes(rig, monkeypatch):
    rig.loop.begun(rig.timeline)
    lost = [0]
    for works, seconds in ((True, 5), (False, 40), (True, 3), (False, 50), (True, 12)):
        with monkeypatch.context() as patch:
            if not works:
                fail(patch, *FAILURES["broken"])
            for _ in range(seconds):
                steps(rig, 1)
                lost.append(rig.loop.backlog().lost_frames)
    assert lost == sorted(lost)
    rig.stop()
    rig.loop.step()
    assert rig.loop.backlog().lost_frames == lost[-1] > 0


def test_a_session_that_ended_counts_until_it_is_written_and_then_no_more(rig):
    rig.loop.begun(rig.timeline)
    rig.record(3)
    rig.stop()
    assert rig.loop.backlog().lag_s == 3.0
    rig.loop.step()
    assert rig.loop.backlog() == Backlog()


def test_two_sessions_count_together_and_the_older_says_since_when(rig, root):
    other = Rig(root)
    other.record(2)
    rig.record(3)
    both = [rig.timeline, other.timeline]
    progress = WritingProgress(rig.timeline, written=2 * RATE, durable=RATE)
    assert backlog_of(both, progress) == Backlog(4.0, stamp_of(RATE).monotonic_ns)


def test_after_a_failure_what_was_written_and_never_durable_is_needed_again(root, monkeypatch):
    rig = Rig(root, sync_s=1000.0)
    rig.loop.begun(rig.timeline)
    steps(rig, 1)  # the first step is made durable
    steps(rig, 10)
    with monkeypatch.context() as patch:
        fail(patch, *FAILURES["broken"])
        steps(rig, RING_S - 5)
        behind = rig.loop.backlog()
    overwritten_s = 1 + 10 + RING_S - 5 - RING_S
    assert behind.lost_frames == (overwritten_s - 1) * RATE
    assert behind.losing


def test_catching_up_is_progress_piece_by_piece(rig, monkeypatch):
    lags = []
    write = Recording.write

    def watched(recording, span, reports):
        lags.append(rig.history.committed - rig.loop.state.progress.written)
        write(recording, span, reports)

    rig.loop.begun(rig.timeline)
    steps(rig, 1)
    rig.record(RING_S - 5)
    monkeypatch.setattr(Recording, "write", watched)
    rig.loop.step()
    assert len(lags) > 3
    assert lags == sorted(set(lags), reverse=True)
