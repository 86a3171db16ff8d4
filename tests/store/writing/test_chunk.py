import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from edgerec.audio import GapReason, TrackReport
from edgerec.stamps import retimed, settle
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.writing.chunk import OpenChunk, finished_chunk
from edgerec.store.writing.journal import Opening, read_journal
from tests.rigs.failing_disk import failing_call, open_files, recorded_calls
from tests.rigs.made_recordings import RATE, SESSION, stamp_of

REPORTS = {"user": TrackReport("mic", late_frames=5), "bot": TrackReport("loopback")}
OPENING = Opening(
    session=SESSION,
    sequence=3,
    layout=Layout(RATE, 2, separate_tracks=True),
    start=100,
    missing_before=0,
    stamp=stamp_of(100),
    reports=REPORTS,
)
PCM = np.ones((2, 10), dtype=np.int16)
AUDIO = np.zeros((2, 10), dtype=np.uint8)
LOST = np.full((2, 10), GapReason.XRUN, dtype=np.uint8)


def test_the_work_folder_knows_the_gaps_of_all_audio_that_the_kernel_has(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    chunk.write(PCM * 0, LOST)
    content = read_journal(root.work / "9f3a01c2_000003_chunk.journal")
    assert content.opening == OPENING
    assert [(change.frame, change.code) for change in content.changes["bot"]] == [
        (110, GapReason.XRUN)
    ]
    chunk.abandon()


def test_sync_makes_the_journal_durable_before_the_audio_it_is_about(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM * 0, LOST)
    with recorded_calls() as calls:
        chunk.sync()
    assert calls == [
        ("fdatasync", "9f3a01c2_000003_chunk.journal"),
        ("fdatasync", "9f3a01c2_000003_chunk.wav"),
        ("fdatasync", "9f3a01c2_000003_user.wav"),
        ("fdatasync", "9f3a01c2_000003_bot.wav"),
    ]
    chunk.abandon()


def test_new_files_have_durable_names_before_audio_goes_in(root):
    with recorded_calls() as calls:
        OpenChunk(root, OPENING).abandon()
    assert calls == [("fsync", ".work")]


def test_late_frames_are_those_of_this_chunk(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    ending = {"user": TrackReport("mic", late_frames=12), "bot": TrackReport("loopback")}
    facts = chunk.finish(stamp_of(100), ending, "full").facts
    assert (facts.tracks["user"].late_frames, facts.tracks["bot"].late_frames) == (7, 0)


def test_a_chunk_is_closed_when_all_of_its_audio_is_durable(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    with recorded_calls() as calls:
        chunk.finish(stamp_of(100), REPORTS, "full")
    assert calls == [
        ("fdatasync", "9f3a01c2_000003_chunk.journal"),
        ("fdatasync", "9f3a01c2_000003_chunk.wav"),
        ("fdatasync", "9f3a01c2_000003_user.wav"),
        ("fdatasync", "9f3a01c2_000003_bot.wav"),
        ("fdatasync", "9f3a01c2_000003_chunk.journal"),
    ]
    assert open_files(root.work) == []


def test_what_the_journal_says_of_a_finished_chunk_is_what_its_writer_knew(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    chunk.write(PCM * 0, LOST)
    finished = chunk.finish(stamp_of(100), REPORTS, "rotate")
    content = read_journal(root.work / "9f3a01c2_000003_chunk.journal")
    assert finished_chunk(content, content.closing, stamp_of(500)) == finished


def test_a_chunk_whose_sync_failed_says_how_much_was_durable_before(root):
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    chunk.sync()
    chunk.write(PCM, AUDIO)
    with failing_call(2, errno.EIO), pytest.raises(StoreError):
        chunk.sync()
    chunk.abandon()
    content = read_journal(root.work / "9f3a01c2_000003_chunk.journal")
    assert content.durable_frames == chunk.durable_frames == 10


def test_a_chunk_that_can_not_be_made_keeps_no_file_open(root):
    for nth in range(1, 20):
        for leftover in root.work.iterdir():
            leftover.unlink()
        with failing_call(nth, errno.EIO) as calls:
            try:
                OpenChunk(root, OPENING).abandon()
            except StoreError as failure:
                assert failure.errno == errno.EIO
                assert open_files(root.work) == []
            else:
                assert calls() < nth
                break
    assert nth == 11  # journal and three files: open, write; folder: open, fsync; one clean run


def test_an_abandoned_chunk_keeps_no_file_open(root):
    layout = replace(OPENING.layout, format="flac")
    chunk = OpenChunk(root, replace(OPENING, layout=layout))
    chunk.write(PCM, AUDIO)
    assert len(open_files(root.work)) == 7  # the journal, and two files of each of three
    chunk.abandon()
    assert open_files(root.work) == []


def test_abandoning_closes_only_its_own_files(root, tmp_path):
    """A descriptor closed twice may by then be another thread's file."""
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    chunk.finish(stamp_of(100), REPORTS, "full")
    with (tmp_path / "others").open("wb") as others:
        chunk.abandon()
        others.write(b"still open")


@pytest.mark.parametrize(
    ("then_trusted", "now_trusted", "chosen"),
    [(True, True, "then"), (True, False, "then"), (False, False, "then"), (False, True, "now")],
)
def test_the_nearer_stamp_wins_unless_only_the_later_one_is_trusted(
    then_trusted, now_trusted, chosen
):
    then, now = stamp_of(100, trusted=then_trusted), stamp_of(101, trusted=now_trusted)
    assert settle(then, now) == (then if chosen == "then" else now)


def test_a_clock_that_is_set_later_stamps_what_was_recorded_before_in_the_same_boot():
    then, now = stamp_of(100, trusted=False), stamp_of(2100)
    wrong = replace(then, utc_ns=17)
    assert retimed(wrong, now) == replace(then, utc_trusted=True)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (replace(stamp_of(100), utc_ns=17), stamp_of(2100)),
        (stamp_of(100, trusted=False), stamp_of(2100, trusted=False)),
        (stamp_of(100, trusted=False), replace(stamp_of(2100), boot_id="the next boot")),
        (replace(stamp_of(100, trusted=False), boot_id=""), replace(stamp_of(2100), boot_id="")),
    ],
    ids=["was known", "is not known", "another boot", "boot unknown"],
)
def test_a_stamp_stays_where_it_was_known_or_nothing_better_is(then, now):
    assert retimed(then, now) == then


@pytest.mark.parametrize("why", ["Permission denied", "File exists"])
def test_audio_is_not_read_where_it_can_not_be_published(root, monkeypatch, why):
    """It is tried again and again, and an hour of audio takes the writer thread seconds."""
    chunk = OpenChunk(root, OPENING)
    chunk.write(PCM, AUDIO)
    finished = chunk.finish(stamp_of(100), REPORTS, "rotate")
    monkeypatch.setattr(
        "edgerec.store.writing.chunk.fingerprint", lambda audio: pytest.fail("it is read")
    )
    if why == "Permission denied":
        monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write anywhere
    else:
        folder = root.make_folders("kiosk=k1", "date=2026-11-22")
        (folder / "20261122T101500.223Z_9f3a01c2_000003_bot.wav").symlink_to("/nowhere")
    with pytest.raises(StoreError, match=why):
        finished.publish(root)
    assert not list(root.ready.rglob("*.json"))
