"""A chunk of which a crash or the disk has damaged one file keeps the others."""

import os
from dataclasses import replace

import pytest

from edgerec.store.archive.verify import verify
from edgerec.store.writing.closing import LAGS_S
from edgerec.store.writing.recover import recover
from edgerec.store.writing.wav import HEADER_BYTES
from tests.rigs.damaged_files import read_journal_lines, write_journal_lines
from tests.rigs.leftovers import NEXT_BOOT, NOW, TRACKS_TOO, crash, left_in
from tests.rigs.made_recordings import RATE, quiet_span

FRAMES = round(LAGS_S * RATE) + 1
NAME = "9f3a01c2_000000_"


@pytest.mark.parametrize("now", [NOW, NEXT_BOOT], ids=["this boot", "the next boot"])
@pytest.mark.parametrize("what", TRACKS_TOO.files)
@pytest.mark.parametrize("size", [0, HEADER_BYTES, HEADER_BYTES + 2])
def test_one_file_that_lost_its_content_costs_the_others_nothing(root, now, what, size):
    """File systems leave empty files behind a power cut; the chunk may be an hour long."""
    crash(root, [quiet_span(0, FRAMES), quiet_span(FRAMES, 9)], layout=TRACKS_TOO, synced=2)
    (root.work / f"{NAME}{what}.wav").write_bytes(bytes(size))
    done = recover(root, now)
    others = [one for one in TRACKS_TOO.files if one != what]
    assert [(one.what, one.frames) for one in done.published[:-1]] == [
        (other, FRAMES + 9) for other in others
    ]
    assert verify(root.path).ok
    assert left_in(root.work) == []
    kept = [] if size <= HEADER_BYTES else [f"{NAME}{what}.wav"]
    assert [path.name for path, _ in done.quarantined] == kept


def test_one_that_is_a_moment_behind_is_as_long_as_the_others(root):
    """As after a kill between two writes."""
    crash(root, [quiet_span(0, FRAMES)], layout=TRACKS_TOO)
    path = root.work / f"{NAME}bot.wav"
    os.truncate(path, path.stat().st_size - 2 * 100)
    done = recover(root, NOW)
    assert [one.frames for one in done.published] == [FRAMES - 100] * 4
    assert verify(root.path).ok


@pytest.mark.parametrize("is_there", [True, False])
def test_a_track_without_a_frame_costs_the_rest_of_a_short_chunk_nothing(root, is_there):
    crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO)
    (root.work / f"{NAME}user.wav").write_bytes(b"")
    if not is_there:
        (root.work / f"{NAME}chunk.wav").unlink()
    done = recover(root, NOW)
    whats = ["chunk", "bot", "session"] if is_there else ["bot", "session"]
    assert [(one.what, one.frames) for one in done.published] == [(what, 40) for what in whats]
    assert done.quarantined == []
    assert verify(root.path).ok


def test_encoded_audio_without_its_wav_file_is_kept(root):
    """It counts for nothing beside that; alone it may be all there is."""
    crash(root, [quiet_span(0, 40)], layout=replace(TRACKS_TOO, format="flac"))
    for path in root.work.glob("*.wav"):
        path.with_suffix(".flac").write_bytes(b"fLaC and more")
        path.unlink()
    done = recover(root, NOW)
    names = sorted(path.name for path, _ in done.quarantined)
    assert names == [f"{NAME}{what}.flac" for what in ("bot", "chunk", "user")]
    assert [one.what for one in done.published] == ["session"]


def test_a_journal_of_a_track_by_itself_is_set_aside(root):
    """No layout has a track as its main file; it would be deleted twice, and left for good."""
    crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO)
    [journal] = root.work.glob("*.journal")
    lines = read_journal_lines(journal)
    lines[0]["layout"]["main"] = "user"
    write_journal_lines(journal.with_name(f"{NAME}user.journal"), lines)
    journal.unlink()
    done = recover(root, NOW)
    assert done.left == []
    assert f"{NAME}user.wav" in [path.name for path, _ in done.quarantined]
    assert left_in(root.work) == []
