"""Chunks that wait for the wall clock to be set, and are named and published by it."""

from dataclasses import replace

from edgerec.store.archive.verify import verify
from edgerec.store.writing.recording import PUBLISHED_AT_ONCE
from edgerec.store.writing.rotation import Cutting
from tests.rigs.made_recordings import (
    FOREVER,
    REPORTS,
    chunks,
    quiet_span,
    recording,
    sidecar,
    stamp_of,
)


def test_a_name_that_waited_for_the_clock_is_made_of_the_time_known_at_the_end(root):
    trusted = [False]
    published = []
    session = recording(
        root, published, stamps=lambda frame: stamp_of(frame + 500 * trusted[0], trusted=trusted[0])
    )
    session.write(quiet_span(0, 50), REPORTS)
    trusted[0] = True
    session.finish("stop")
    for one in published:
        assert one.path.name.startswith("20261122T101500.623Z_")
        assert sidecar(one)["utc_trusted"] is True


class WallClock:
    """Stamps of a wall clock that is set right at some point."""

    def __init__(self):
        self.trusted = False

    def __call__(self, frame):
        stamp = stamp_of(frame, trusted=self.trusted)
        return stamp if self.trusted else replace(stamp, utc_ns=stamp.utc_ns - 10**18)


def test_chunks_wait_for_the_wall_clock_in_the_work_folder(root, caplog):
    published = []
    clock = WallClock()
    session = recording(root, published, cutting=Cutting(40, FOREVER), stamps=clock, utc_wait_s=0.2)
    session.write(quiet_span(0, 130), REPORTS)
    session.publish_due()
    session.publish_due()
    assert published == []
    assert caplog.text.count("files wait for the wall clock") == 1
    clock.trusted = True
    session.publish_due()
    assert [(one.sequence, one.end_reason) for one in published] == [(n, "full") for n in range(3)]
    assert [sidecar(one)["started_at"][17:23] for one in published] == [
        "00.123",  # when the session began, as is known now
        "00.163",
        "00.203",
    ]
    assert all(sidecar(one)["utc_trusted"] for one in published)


def test_chunks_wait_no_longer_than_they_are_told_to(root):
    published = []
    session = recording(
        root, published, cutting=Cutting(40, FOREVER), stamps=WallClock(), utc_wait_s=0.1
    )
    session.write(quiet_span(0, 99), REPORTS)
    session.publish_due()
    assert published == []
    session.write(quiet_span(99, 1), REPORTS)
    session.publish_due()
    assert [one.frames for one in published] == [40, 40]
    assert not any(sidecar(one)["utc_trusted"] for one in published)


def test_chunks_that_have_waited_are_published_a_few_at_a_time_and_in_order(root):
    published = []
    clock = WallClock()
    session = recording(root, published, cutting=Cutting(10, FOREVER), stamps=clock, utc_wait_s=9)
    session.write(quiet_span(0, 95), REPORTS)
    clock.trusted = True
    session.publish_due()
    assert len(published) == PUBLISHED_AT_ONCE
    session.write(quiet_span(95, 5), REPORTS)  # the tenth is full, and comes after the others
    session.publish_due()
    assert [one.sequence for one in published] == list(range(10))


def test_a_stop_publishes_all_that_waits(root):
    published = []
    session = recording(
        root, published, cutting=Cutting(10, FOREVER), stamps=WallClock(), utc_wait_s=9
    )
    session.write(quiet_span(0, 95), REPORTS)
    session.finish("stop")
    assert [one.frames for one in chunks(published)] == [10] * 9 + [5]
    assert sidecar(published[-1])["files"] == {"chunk": 10}
    assert verify(root.path).ok
