"""A disk that takes nothing for a while: memory holds what it can, and the rest is declared."""

import errno
import os

import numpy as np
import pytest

from edgerec.engine.copying import CATCH_UP_S
from edgerec.engine.housekeeping import Chore
from edgerec.engine.retrying import FIRST_RETRY_S
from edgerec.engine.writer_loop import LAST_RETRY_S
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot
from tests.rigs.fakes import START_NS, S
from tests.rigs.made_recordings import chunks, sidecar
from tests.rigs.turn_rig import RATE
from tests.rigs.writer_rig import Rig, samples

STALL_S = 30


@pytest.fixture
def rig(root):
    return Rig(root)


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
    rig.loop.begun(rig.timeline)
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
        assert rig.loop.state.progress.lost_frames == 0
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
        assert rig.loop.state.progress.lost_frames == lost
        assert verify(rig.root.path).ok


def test_trouble_is_told_while_it_lasts(rig, monkeypatch):
    disk = Unreliable(monkeypatch)
    rig.loop.begun(rig.timeline)
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
    rig.loop.begun(rig.timeline)
    asked_s = []
    rig.record(1)

    def advance(now_ns, real=rig.loop._advance):
        asked_s.append((now_ns - START_NS) / S)
        real(now_ns)

    monkeypatch.setattr(rig.loop, "_advance", advance)
    for _ in range(120):
        rig.loop.step()
        rig.clock.raw_ns += S // 4
    waits = np.diff(asked_s)
    assert waits[0] == FIRST_RETRY_S
    assert waits.max() == waits[-1] == LAST_RETRY_S


def test_a_disk_that_fails_at_the_end_ends_the_thread_with_what_failed(rig, monkeypatch):
    disk = Unreliable(monkeypatch)
    rig.loop.begun(rig.timeline)
    rig.record(1)
    rig.stop()
    disk.works = False
    rig.loop.over()
    with pytest.raises(StoreError, match="Input/output error"):
        rig.loop.run()


def test_housekeeping_goes_on_while_the_disk_is_in_trouble(rig, monkeypatch):
    """It may be what makes room."""
    disk = Unreliable(monkeypatch)
    disk.works = False
    seen = []
    loop = rig.writer_loop(Chore("making room", seen.append))
    loop.begun(rig.timeline)
    for _ in range(3):
        loop.step()
    assert len(seen) == 3
