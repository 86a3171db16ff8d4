"""Recordings that retention looks at, and its clocks."""

from dataclasses import replace

from edgerec.stamps import SETTLED_NS
from edgerec.store.records.naming import Session
from edgerec.store.retention.cleanup import (
    SWEEP_NS,
    Cleanup,
)
from edgerec.store.retention.plan import Quota
from edgerec.store.writing.rotation import Cutting
from tests.rigs.made_recordings import REPORTS, START_UTC_NS, quiet_span, recording, stamp_of

S = 1_000_000_000

QUOTA = Quota(
    max_age_ns=None, max_bytes=None, min_free_bytes=0, keep_unacknowledged=True, reserve_bytes=0
)


def record(root, session="9f3a01c2", number=41, chunks=4, stamps=stamp_of):
    """A session of chunks of 100 frames."""
    published = []
    writing = recording(
        root,
        published,
        cutting=Cutting(100, 10**9),
        stamps=stamps,
        session=Session(session, number, None, "k1"),
    )
    writing.write(quiet_span(0, 100 * chunks), REPORTS)
    writing.finish("stop")
    return [one.path for one in published[:-1]]


def acknowledge(paths):
    for path in paths:
        path.with_suffix(".ack").touch()


class Clocks:
    """Stamps that go on from where the recordings ended."""

    def __init__(self, utc_ns=START_UTC_NS, *, trusted=True):
        self.now = replace(stamp_of(0), utc_ns=utc_ns, utc_trusted=trusted)

    def __call__(self):
        return self.now

    def later(self, ns, *, jump_ns=0):
        self.now = replace(
            self.now,
            utc_ns=self.now.utc_ns + ns + jump_ns,
            monotonic_ns=self.now.monotonic_ns + ns,
        )


def sweep(root, quota, clocks=None, *, settled=True):
    """Look at everything once; with `settled` the wall clock has been known for long enough."""
    clocks = clocks or Clocks()
    cleanup = Cleanup(root, quota, bytes_per_s=1.0, stamp_now=clocks)
    if settled:
        now_ns = finish_sweep(cleanup, 0)
        clocks.later(SETTLED_NS)
        finish_sweep(cleanup, now_ns + SWEEP_NS)
    else:
        finish_sweep(cleanup, 0)
    return cleanup


def finish_sweep(cleanup, now_ns):
    steps = 0
    while cleanup._sweep is not None or steps == 0:
        cleanup.step(now_ns)
        steps += 1
    return now_ns


def there(paths):
    return [path.exists() for path in paths]


def size(path):
    return sum(
        file.stat().st_size
        for file in (path, path.with_suffix(".json"), path.with_suffix(".ack"))
        if file.exists()
    )
