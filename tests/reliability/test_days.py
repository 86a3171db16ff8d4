"""Three days of recording with retention on, in simulated time: does anything grow?"""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgerec.audio import Stamp, TimelineFrame, TrackReport
from edgerec.service.timeline import SessionTimeline
from edgerec.service.writer_loop import WriterLoop
from edgerec.store.cleanup import Cleanup
from edgerec.store.cutting import Cutting
from edgerec.store.layout import Layout
from edgerec.store.retention import Quota
from edgerec.store.root import StorageRoot
from edgerec.store.verify import verify
from edgerec.store.writer import Recording
from edgerec.sync.ring import History
from tests.rigs.fakes import FakeClock, S
from tests.rigs.long_runs import open_files

RATE = 500
"""Hz. What may grow does so by chunks and by time, not by samples."""
HOURS = 72
STEP_S = 20
CHUNK_S = 120
WARM_UP_H = 6
MAX_GROWTH_BYTES = 256 * 1024
"""Of the last day's median over the first's: 200 bytes for each chunk between them."""
MAX_STEP_BYTES = 4 << 20
"""Python rebuilds its table of interned names, once in days, and keeps the room for both."""
KEPT_BYTES = 60 * (CHUNK_S * RATE * 4 + 3_000)  # two hours


@pytest.mark.long
def test_three_days_with_retention_on_leave_memory_and_open_files_flat(memory_path, monkeypatch):
    # Or that table is rebuilt at an hour that depends on how many modules are loaded.
    monkeypatch.setattr(sys, "intern", str)
    clock = FakeClock()
    history = History(60 * RATE)
    with StorageRoot(memory_path / "root") as root:
        cleanup = _cleanup(root, clock)
        loop = WriterLoop(
            clock,
            open_recording=lambda timeline: _open(root, timeline),
            sync_s=60.0,
            housekeeping=cleanup.step,
        )
        reports = {"user": TrackReport("mic"), "bot": TrackReport("loopback")}
        timeline = SessionTimeline(RATE, history, _stamp, reports)
        loop.begin(timeline)
        pcm = np.ones(STEP_S * RATE, np.int16)
        sizes = []
        for step in range(HOURS * 3600 // STEP_S):
            for track in range(2):
                history.append(track, pcm)
            history.commit(history.end(0))
            clock.raw_ns += STEP_S * S
            loop.step()
            if step % (3600 // STEP_S) == 0:
                sizes.append((_resident_bytes(), open_files()))
                _fetch(root)
        timeline.stop = history.committed
        loop.step()
        memory, files = zip(*sizes[WARM_UP_H:], strict=True)
        assert np.median(memory[-24:]) - np.median(memory[:24]) < MAX_GROWTH_BYTES
        assert max(memory) - min(memory) < MAX_STEP_BYTES
        assert set(files) == {files[0]}
        assert cleanup.space.stored_bytes <= KEPT_BYTES
        hour_bytes = 3600 * RATE * 4 * 1.1  # what was not yet fetched, and sidecars
        stored = sum(path.stat().st_size for path in root.ready.rglob("*.*"))
        assert stored <= KEPT_BYTES + hour_bytes
        errors = [f for f in verify(root.path).findings if f.severity == "error"]
        assert all("counts" in finding.problem for finding in errors)  # the others are deleted


def _open(root, timeline):
    layout, cutting = Layout(RATE, 2), Cutting(CHUNK_S * RATE, 10**9)
    session = root.open_session("k1")
    return Recording(root, session, layout, cutting, timeline.stamp_of, lambda published: None)


def _cleanup(root, clock):
    quota = Quota(
        max_age_ns=None,
        max_bytes=KEPT_BYTES,
        min_free_bytes=0,
        keep_unacknowledged=True,
        reserve_bytes=CHUNK_S * RATE * 4,
    )
    return Cleanup(root, quota, bytes_per_s=RATE * 4.0, stamp_now=lambda: _stamp(0))


def _stamp(frame):
    since_ns = TimelineFrame(frame) * S // RATE
    return Stamp(1_795_342_500 * S + since_ns, True, 0.5, 1_000 * S + since_ns, "boot")


def _fetch(root):
    """Acknowledge everything there is, as a sync job does once an hour."""
    for audio in root.ready.rglob("*.wav"):
        audio.with_suffix(".ack").touch()


def _resident_bytes():
    gc.collect()  # among pytest's own million objects Python looks for cycles too rarely
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
