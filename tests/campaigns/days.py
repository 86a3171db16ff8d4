"""Three days of recording with retention on, in simulated time: nothing grows.

`scripts/campaign days` is the whole of it; a sample has its chunks in a third of the time.
"""

import gc
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from edgerec.audio import Stamp, TimelineFrame, TrackReport
from edgerec.config import Config, StorageConfig
from edgerec.engine.housekeeping import Chore, Housekeeping
from edgerec.engine.plan import Current, Plan
from edgerec.engine.writer_loop import WriterLoop
from edgerec.session.timeline import SessionTimeline
from edgerec.store.archive.verify import verify
from edgerec.store.records.layout import Layout
from edgerec.store.retention.cleanup import Cleanup
from edgerec.store.retention.plan import Quota
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recording import Recording, RecordingForm
from edgerec.store.writing.rotation import Cutting
from edgerec.sync.history import History
from tests.rigs.fakes import FakeClock, S
from tests.rigs.long_runs import open_files

RATE = 500
"""Hz. What may grow does so by chunks and by time, not by samples."""
HOURS = 72
CHUNKS_PER_HOUR = 30
STEP_S = 20
WARM_UP_H = 6
MAX_GROWTH_BYTES = 256 * 1024
"""Of the last day's median over the first's: 200 bytes for each chunk between them."""
MAX_STEP_BYTES = 4 << 20
"""Python rebuilds its table of interned names, once in days, and keeps the room for both."""


def check_days(folder, hour_s):
    """Record three days of such hours; assert that nothing grows, and return by how much."""
    # Or that table is rebuilt at an hour that depends on how many modules are loaded.
    with pytest.MonkeyPatch.context() as patch, StorageRoot(folder / "root") as root:
        patch.setattr(sys, "intern", str)
        return _Days(root, hour_s).check()


class _Days:
    """Three days of recording, and what is kept of them."""

    def __init__(self, root, hour_s):
        self._root = root
        self._hour_s = hour_s
        self._chunk_s = hour_s // CHUNKS_PER_HOUR
        self._kept_bytes = 2 * CHUNKS_PER_HOUR * (self._chunk_s * RATE * 4 + 3_000)  # two hours

    def check(self):
        clock = FakeClock()
        history = History(60 * RATE)
        cleanup = self._cleanup()
        plan = Plan.of(Config(storage=StorageConfig(sync_seconds=60.0)))
        house = Housekeeping([Chore("retention", cleanup.step)])
        loop = WriterLoop(Current(plan), self, clock, house, lambda event: None)
        reports = {"user": TrackReport("mic"), "bot": TrackReport("loopback")}
        timeline = SessionTimeline(RATE, history, _stamp, reports)
        loop.begun(timeline)
        pcm = np.ones(STEP_S * RATE, np.int16)
        sizes = []
        for step in range(HOURS * self._hour_s // STEP_S):
            for track in range(2):
                history.append(track, pcm)
            history.commit(history.end(0))
            clock.raw_ns += STEP_S * S
            loop.step()
            if step % (self._hour_s // STEP_S) == 0:
                sizes.append((_resident_bytes(), open_files()))
                self._fetch()
        timeline.stop = history.committed
        loop.step()
        memory, files = zip(*sizes[WARM_UP_H:], strict=True)
        growth_bytes = float(np.median(memory[-24:]) - np.median(memory[:24]))
        assert growth_bytes < MAX_GROWTH_BYTES, f"{growth_bytes} bytes more: {memory}"
        assert max(memory) - min(memory) < MAX_STEP_BYTES
        assert set(files) == {files[0]}
        self._check_files(cleanup)
        return growth_bytes

    def _check_files(self, cleanup):
        assert cleanup.space.stored_bytes <= self._kept_bytes
        # What was not yet fetched, and sidecars.
        hour_bytes = CHUNKS_PER_HOUR * (self._chunk_s * RATE * 4 + 3_000)
        stored = sum(path.stat().st_size for path in self._root.ready.rglob("*.*"))
        assert stored <= self._kept_bytes + hour_bytes
        errors = [f for f in verify(self._root.path).findings if f.severity == "error"]
        assert all("counts" in finding.problem for finding in errors)  # the others are deleted

    def open(self, plan, timeline):
        form = RecordingForm(Layout(RATE, 2), Cutting(self._chunk_s * RATE, 10**9))
        session = self._root.open_session("k1")
        return Recording(self._root, session, form, timeline.stamp_of, lambda published: None)

    def _cleanup(self):
        quota = Quota(
            max_age_ns=None,
            max_bytes=self._kept_bytes,
            min_free_bytes=0,
            keep_unacknowledged=True,
            reserve_bytes=self._chunk_s * RATE * 4,
        )
        return Cleanup(self._root, quota, bytes_per_s=RATE * 4.0, stamp_now=lambda: _stamp(0))

    def _fetch(self):
        """Acknowledge everything there is, as a sync job does once an hour."""
        for audio in self._root.ready.rglob("*.wav"):
            audio.with_suffix(".ack").touch()


def _stamp(frame):
    since_ns = TimelineFrame(frame) * S // RATE
    return Stamp(1_795_342_500 * S + since_ns, True, 0.5, 1_000 * S + since_ns, "boot")


def _resident_bytes():
    gc.collect()  # among pytest's own million objects Python looks for cycles too rarely
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(_args):
    """Record three whole days, and print what was checked."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        growth_bytes = check_days(Path(folder), 3_600)
    print(f"{growth_bytes:.0f} bytes more on the last day, {MAX_GROWTH_BYTES} may be")
