import pytest

from edgerec.store.records.naming import (
    FileKey,
    Session,
    parse_published,
    partition,
    published_stem,
    utc_text,
)

UTC_NS = 1_795_342_500_123_456_789


def test_published_name_is_start_session_sequence_and_what():
    key = FileKey("9f3a01c2", 12, "turn-user")
    assert published_stem(UTC_NS, key) == "20261122T101500.123Z_9f3a01c2_000012_turn-user"


def test_folders_are_hive_partitions_by_kiosk_and_utc_date():
    assert partition("k1", UTC_NS) == ("kiosk=k1", "date=2026-11-22")


def test_time_in_sidecars_has_exact_microseconds():
    assert utc_text(UTC_NS) == "2026-11-22T10:15:00.123456Z"
    assert utc_text(0) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("sequence", [0, 12, 999_999, 1_000_000])
@pytest.mark.parametrize("what", ["chunk", "user", "bot", "turn-user", "turn-bot", "session"])
def test_names_can_be_read_back(sequence, what):
    key = FileKey("9f3a01c2", sequence, what)
    assert parse_published(published_stem(UTC_NS, key)) == key


@pytest.mark.parametrize("stem", ["", "notes", "9f3a01c2_000012_chunk", "x_9f3a01c2_000012_chunk"])
def test_other_names_are_not_ours(stem):
    assert parse_published(stem) is None


@pytest.mark.parametrize(
    ("session", "kiosk"),
    [("9f3a01c2", ""), ("9f3a01c2", "a/b"), ("9f3a01c2", "x" * 65), ("xyz", "k1")],
)
def test_a_session_that_would_break_a_name_is_refused(session, kiosk):
    with pytest.raises(ValueError, match="expected"):
        Session(session, 1, None, kiosk)
