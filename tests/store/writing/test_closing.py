import pytest

from edgerec.store.writing.closing import (
    CutChunk,
    close_leftover,
    delete_leftover,
    publish_leftover,
)
from edgerec.store.writing.journal import JournalError, read_journal
from tests.rigs.failing_disk import recorded_calls
from tests.rigs.made_recordings import REPORTS, quiet_span, recording, stamp_of

NOW = stamp_of(10_000)
CUT = CutChunk("crash", recovered=True, now=NOW)


@pytest.fixture
def journal(root):
    """Of a chunk of 40 frames that was cut short."""
    session = recording(root, [])
    session.write(quiet_span(0, 40), REPORTS)
    return root.work / "9f3a01c2_000000_chunk.journal"


def test_audio_is_durable_before_the_line_that_says_so(root, journal):
    with recorded_calls() as calls:
        close_leftover(root, journal, CUT)
    assert calls == [
        ("fsync", "9f3a01c2_000000_chunk.wav"),
        ("fsync", "9f3a01c2_000000_chunk.journal"),
    ]


def test_a_closed_chunk_stays_as_it_was_closed(root, journal):
    content = close_leftover(root, journal, CUT)
    with recorded_calls() as calls:
        assert close_leftover(root, journal, CutChunk("disk", recovered=False, now=NOW)) == content
    assert calls == []


def test_a_chunk_that_is_not_closed_is_not_published(root, journal):
    with pytest.raises(JournalError, match="does not say how its chunk ends"):
        publish_leftover(root, journal, NOW, begun_before=True)


def test_a_leftover_is_deleted_with_its_journal_last(root, journal):
    """Without its journal nobody knows what the rest is."""
    (root.work / "9f3a01c2_000001_chunk.journal").touch()
    with recorded_calls() as calls:
        delete_leftover(root, read_journal(journal).opening)
    assert calls == [
        ("unlink", "9f3a01c2_000000_chunk.wav"),
        ("unlink", "9f3a01c2_000000_chunk.journal"),
    ]
