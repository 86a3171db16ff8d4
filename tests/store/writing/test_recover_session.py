"""What recovery says of a session that was cut short: its record, its end and its time."""

from dataclasses import replace

import pytest

from edgerec.store.archive.verify import verify
from edgerec.store.records.naming import Session
from edgerec.store.writing.recover import CutShort, recover
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.session_summary import totals_file
from tests.rigs.leftovers import NEXT_BOOT, NOW, crash, left_in
from tests.rigs.made_recordings import (
    FOREVER,
    REPORTS,
    SESSION,
    chunks,
    quiet_span,
    recording,
    sidecar,
    stamp_of,
)


def test_a_session_counts_no_leftover_of_another(root):
    crash(root, [quiet_span(0, 40)])
    session = recording(root, [], session=Session("bbbbbbbb", 42, "9f3a01c2", "k1"))
    session.write(quiet_span(0, 30), REPORTS)
    *_, closing = recover(root, NOW).published
    record = sidecar(closing)
    assert (record["session"], record["frames"]) == ("bbbbbbbb", 30)
    assert (record["end_reason"], record["recovered"], record["files"]) == (
        "crash",
        True,
        {"chunk": 1},
    )


def test_a_session_that_had_just_ended_was_not_cut_short(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 40), REPORTS)
    totals = totals_file(root, SESSION.id).read_bytes()
    session.finish("stop")
    totals_file(root, SESSION.id).write_bytes(totals)  # killed before it was forgotten
    done = recover(root, NOW)
    assert (done.cut_short, done.published) == (None, [])
    assert not totals_file(root, SESSION.id).exists()


def test_what_is_lost_of_a_session_lies_behind_its_last_frame(root):
    crash(root, [quiet_span(0, 40)])
    cut = recover(root, NOW).cut_short
    assert cut == CutShort("9f3a01c2", stamp_of(40))


def test_a_session_that_began_before_the_wall_clock_was_known_is_dated_by_it_later(root):
    published = []
    session = recording(
        root, published, stamps=lambda f: replace(stamp_of(f, trusted=False), utc_ns=17)
    )
    session.write(quiet_span(0, 40), REPORTS)
    chunk, closing = recover(root, NOW).published
    for one in (chunk, closing):
        assert sidecar(one)["started_at"] == "2026-11-22T10:15:00.123456Z"
        assert sidecar(one)["utc_trusted"] is True


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\0" * 99, b'{"session": 1}'])
def test_totals_that_nobody_can_read_cost_a_closing_record_and_no_more(root, content):
    crash(root, [quiet_span(0, 40)])
    totals_file(root, SESSION.id).write_bytes(content)
    assert [one.what for one in recover(root, NOW).published] == ["chunk"]
    assert len(left_in(root.quarantine)) == 2  # with the reason


def test_chunks_that_waited_for_the_wall_clock_are_published_as_they_ended(root):
    published = []
    session = recording(
        root,
        published,
        cutting=Cutting(40, FOREVER),
        stamps=lambda frame: stamp_of(frame, trusted=False),
        utc_wait_s=9,
    )
    session.write(quiet_span(0, 90), REPORTS)
    assert published == []
    done = recover(root, NEXT_BOOT)  # the finished ones are durable, what came behind is not
    described = [sidecar(one) for one in chunks(done.published)]
    assert [(one["frames"], one["end_reason"], one["recovered"]) for one in described] == [
        (40, "full", False),
        (40, "full", False),
    ]
    assert verify(root.path).ok
