"""The wall clock is stepped while recording: names, order and retention don't care."""

import json
import random
from itertools import pairwise

import pytest

from edgerec.stamps import LiveStamps, stamp_now
from edgerec.store.archive.verify import verify
from edgerec.store.retention.cleanup import SWEEP_NS, Cleanup
from edgerec.store.retention.plan import Quota
from edgerec.store.root import StorageRoot
from edgerec.store.writing.rotation import Cutting
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.made_recordings import RATE, REPORTS, chunks, quiet_span, recording

YEARS_10_NS = 3_652 * 86_400 * S
STEPS_NS = (-YEARS_10_NS, YEARS_10_NS, -S, S)
HOURS = 6
CHUNK_S = 60


@pytest.mark.parametrize("trusted", ["always", "at times"])
@pytest.mark.parametrize("seed", range(3))
def test_steps_of_the_wall_clock_never_lose_overwrite_reorder_or_delete(memory_path, seed, trusted):
    rng = random.Random(seed)
    clock = FakeClock()
    published = []
    quota = Quota(
        max_age_ns=86_400 * S,  # everything is younger
        max_bytes=None,
        min_free_bytes=0,
        keep_unacknowledged=False,
        reserve_bytes=0,
    )
    with StorageRoot(memory_path / "root") as root:
        cleanup = Cleanup(root, quota, bytes_per_s=1.0, stamp_now=lambda: stamp_now(clock))
        stamps = LiveStamps(clock, START_NS, RATE)
        session = recording(
            root,
            published,
            cutting=Cutting(CHUNK_S * RATE, 10**9),
            stamps=stamps,
            utc_wait_s=300,
        )
        for minute in range(HOURS * 60):
            clock.raw_ns += 60 * S
            if rng.random() < 0.1:
                clock.utc_offset_ns += rng.choice(STEPS_NS)
                clock.trusted = trusted == "always" or rng.random() < 0.5
            session.write(quiet_span(minute * 60 * RATE, 60 * RATE), REPORTS)
            session.publish_due()
            for step in range(5):
                cleanup.step(clock.raw_ns + step * SWEEP_NS)
        session.finish("stop")
    there = sorted(memory_path.rglob("*_chunk.wav"))
    assert len(there) == len(chunks(published)) == HOURS * 60
    assert verify(memory_path).ok
    in_order = [json.loads(one.sidecar.read_text()) for one in chunks(published)]
    for before, after in pairwise(in_order):
        assert after["sequence"] == before["sequence"] + 1
        assert after["start_frame"] == before["start_frame"] + before["frames"]
        assert after["monotonic_ns"] - before["monotonic_ns"] == CHUNK_S * S
