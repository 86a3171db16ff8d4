import json
import os

import pytest

from edgerec.audio import GapReason, TrackReport
from edgerec.store.disk import StoreError
from edgerec.store.records.gap_map import Change, Levels
from edgerec.store.records.layout import Layout
from edgerec.store.writing import journal as journal_module
from edgerec.store.writing.journal import (
    Closing,
    Journal,
    JournalError,
    Opening,
    append_closing,
    read_journal,
)
from tests.rigs.failing_disk import recorded_calls
from tests.rigs.made_recordings import SESSION, stamp_of

OPENING = Opening(
    session=SESSION,
    sequence=12,
    layout=Layout(
        16000, 2, separate_tracks=True, latency_ms={"bot": 12.5}, latency_source={"bot": "chirp"}
    ),
    start=1000,
    missing_before=7,
    stamp=stamp_of(1000),
    reports={"user": TrackReport("mic", 31.25, 18.0, 3), "bot": TrackReport()},
)
CLOSING = Closing(
    end_reason="full",
    recovered=False,
    frames=2000,
    stamp=stamp_of(1000),
    files={"chunk": "wav", "user": "wav", "bot": "wav"},
    reports={"user": TrackReport("mic", 31.5, 17.0, 5), "bot": TrackReport()},
    late_frames={"user": 2, "bot": 0},
    levels={"user": Levels(-3.0, -20.5, 1), "bot": Levels(None, None, 0)},
)
CHANGES = [Change(1000, GapReason.ABSENT), Change(1010, 0), Change(1020, GapReason.XRUN)]


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path, OPENING)
    journal.note("user", CHANGES)
    journal.abandon(None)
    return tmp_path / "9f3a01c2_000012_chunk.journal"


def test_what_was_noted_is_read_back(path):
    content = read_journal(path)
    assert (content.opening, content.changes) == (OPENING, {"user": CHANGES, "bot": []})
    assert (content.closing, content.durable_frames) == (None, None)


def test_a_journal_cut_anywhere_behind_its_first_line_is_read_as_far_as_it_got(path):
    text = path.read_bytes()
    first = text.index(b"\n")
    for size in range(first, len(text)):
        path.write_bytes(text[:size])
        content = read_journal(path)
        changes = content.changes
        assert content.opening == OPENING
        assert changes["user"] == CHANGES[: len(changes["user"])]
        whole_lines = text[:size].count(b"\n")
        assert len(changes["user"]) in (whole_lines - 1, whole_lines)


@pytest.mark.parametrize("line", [b"", b"[]", b"\0\0", b"00000000 ", b"00000000 {}"])
def test_a_journal_is_read_up_to_the_first_damaged_line(path, line):
    *before, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*before, line, b"\n", last]))
    assert read_journal(path).changes == {"user": CHANGES[:-1], "bot": []}


def test_a_damaged_byte_anywhere_is_noticed(path):
    text = path.read_bytes()
    for place in range(len(text)):
        damaged = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        path.write_bytes(damaged)
        try:
            content = read_journal(path)
        except JournalError as error:
            assert str(path) in str(error)
            assert place <= text.index(b"\n")
        else:
            assert place > text.index(b"\n")
            changes = content.changes
            assert (content.opening, changes["bot"]) == (OPENING, [])
            assert changes["user"] == CHANGES[: len(changes["user"])]
            assert len(changes["user"]) < len(CHANGES) or place == len(text) - 1


def test_the_last_line_says_durably_how_the_chunk_ends(tmp_path):
    journal = Journal(tmp_path, OPENING)
    journal.note("bot", CHANGES)
    with recorded_calls() as calls:
        journal.end(CLOSING)
    assert calls == [("fdatasync", "9f3a01c2_000012_chunk.journal")]
    content = read_journal(journal.path)
    assert (content.closing, content.changes["bot"]) == (CLOSING, CHANGES)


@pytest.mark.parametrize("torn", [b"", b"0000", b"00000000 {}\n", b"\0" * 500])
def test_a_journal_that_was_cut_short_is_closed_behind_its_last_whole_line(path, torn):
    path.write_bytes(path.read_bytes() + torn)
    with recorded_calls() as calls:
        append_closing(path, CLOSING)
    assert calls == [("fsync", "9f3a01c2_000012_chunk.journal")]
    content = read_journal(path)
    assert (content.closing, content.changes["user"]) == (CLOSING, CHANGES)


def test_a_journal_remembers_how_much_was_durable_when_a_sync_failed(tmp_path):
    journal = Journal(tmp_path, OPENING)
    journal.abandon(1500)
    assert read_journal(journal.path).durable_frames == 1500


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff\xfe", b"00000000 "])
def test_rubbish_is_no_journal(path, content):
    path.write_bytes(content)
    with pytest.raises(
        JournalError, match=r"9f3a01c2_000012_chunk\.journal does not describe its chunk"
    ):
        read_journal(path)


def test_a_journal_of_another_version_is_left_to_a_person(path, monkeypatch):
    monkeypatch.setattr(journal_module, "VERSION", journal_module.VERSION + 1)
    with pytest.raises(JournalError):
        read_journal(path)


def test_a_journal_is_synced_only_when_it_has_something_new(tmp_path):
    journal = Journal(tmp_path, OPENING)
    with recorded_calls() as calls:
        journal.sync()
        journal.sync()
        journal.note("bot", [])
        journal.sync()
        assert len(calls) == 1
        journal.note("bot", CHANGES)
        journal.sync()
        assert len(calls) == 2
    journal.abandon(None)


def rewrite(path, change):
    """Change what the lines of a journal say, their checksums right."""
    lines = [json.loads(line.partition(b" ")[2]) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(map(journal_module._encode, change(lines))))


def with_news(value):
    """A newer version's: every object has one field more."""
    if isinstance(value, dict):
        named = value.keys() <= {"user", "bot", "chunk"}  # of what, not of which field
        fields = {name: with_news(inner) for name, inner in value.items()}
        return fields if named else {**fields, "newer": {"a": [1]}}
    return [with_news(inner) for inner in value] if isinstance(value, list) else value


def test_what_a_newer_version_says_besides_is_passed_over(path):
    """As after a version that was rolled back."""
    append_closing(path, CLOSING)
    content = read_journal(path)
    rewrite(path, lambda lines: [*with_news(lines[:2]), {"newer": 1}, *with_news(lines[2:])])
    assert read_journal(path) == content


def test_a_journal_under_another_name_is_not_believed(path):
    other = path.with_name("9f3a01c2_000013_chunk.journal")
    path.rename(other)
    with pytest.raises(JournalError, match=r"is the journal of 9f3a01c2_000012_chunk\.journal"):
        read_journal(other)


@pytest.mark.parametrize(
    ("line", "place", "value"),
    [
        (0, ("layout", "format"), "aac"),
        (0, ("layout", "sample_rate"), 0),
        (0, ("sequence",), -1),
        (0, ("start",), "0"),
        (0, ("stamp", "utc_ns"), None),
        (0, ("reports",), {"user": {}}),
        (0, ("session",), []),
        (1, ("code",), 99),
        (1, ("frame",), -5),
        (1, ("track",), "third"),
        (1, ("track",), ["user"]),
        (-1, ("closing",), None),
        (-1, ("closing", "frames"), 0),
        (-1, ("closing", "files"), {"turn-bot": "wav"}),
        (-1, ("closing", "levels"), {}),
        (-1, ("closing", "end_reason"), 17),
    ],
)
def test_a_journal_that_says_what_can_not_be_is_an_error_of_its_own(path, line, place, value):
    append_closing(path, CLOSING)

    def change(lines):
        fields = lines[line]
        for name in place[:-1]:
            fields = fields[name]
        fields[place[-1]] = value
        return lines

    rewrite(path, change)
    with pytest.raises(JournalError, match=r"9f3a01c2_000012_chunk\.journal"):
        read_journal(path)


def test_a_journal_larger_than_any_of_ours_is_not_read(path):
    os.truncate(path, 2 << 30)
    with pytest.raises(StoreError, match="larger than"):
        read_journal(path)
