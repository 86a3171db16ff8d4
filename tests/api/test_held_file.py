"""Published files that stay readable when a sync job has taken them."""

import numpy as np
import pytest

from edgerec.api.held_file import AudioGoneError, HeldFile, HeldFiles
from edgerec.store.records.layout import Layout
from edgerec.store.writing.rotation import Cutting
from tests.rigs.long_runs import open_files
from tests.rigs.made_recordings import audio, chunks, record, sidecar, spans, stream


@pytest.fixture
def published(memory_path):
    """Ten short chunks."""
    pcm, reasons = stream(1_000)
    cutting = Cutting(chunk_frames=100, max_file_frames=10**9)
    return chunks(record(memory_path, spans(pcm, reasons, []), cutting=cutting))


def take_away(published):
    published.path.unlink()
    published.sidecar.unlink()


def test_a_file_that_was_taken_away_is_read_all_the_same(published):
    expected, described = audio(published[0].path), sidecar(published[0])
    files = HeldFiles()
    files.hold(published[0])
    take_away(published[0])
    file = files.release(published[0])
    assert b"".join(file.blocks()) == expected
    assert file.sidecar() == described


def test_it_is_read_in_pieces_of_the_length_asked_for(published):
    file = HeldFile(published[0])
    pieces = list(file.blocks(30))
    assert [len(piece) // 4 for piece in pieces] == [30, 30, 30, 10]
    assert b"".join(pieces) == audio(published[0].path)


def test_two_readers_of_one_file_are_not_in_each_other_s_way(published):
    file = HeldFile(published[0])
    first, second = file.blocks(10), file.blocks(10)
    assert [next(first) == next(second) for _ in range(10)] == [True] * 10


def test_it_is_closed_when_nobody_refers_to_it_any_more(published):
    before = open_files()
    files = HeldFiles()
    files.hold(published[0])
    file = files.release(published[0])
    assert open_files() == before + 2
    del file
    assert open_files() == before


def test_of_too_many_the_oldest_are_closed_and_say_so_when_they_are_gone(published):
    before = open_files()
    files = HeldFiles(most=3)
    kept = []
    for one in published:
        files.hold(one)
        kept.append(files.release(one))
    assert open_files() == before + 6
    assert b"".join(kept[0].blocks()) == audio(published[0].path)  # it still has its name
    for one in published:
        take_away(one)
    with pytest.raises(AudioGoneError, match="taken away"):
        list(kept[6].blocks())
    with pytest.raises(AudioGoneError):
        kept[6].sidecar()
    assert len(b"".join(kept[7].blocks())) == 400


def test_files_whose_events_nobody_takes_are_not_kept(published):
    before = open_files()
    files = HeldFiles(most=2)
    for one in published:
        files.hold(one)
    assert open_files() <= before + 4


def test_a_file_that_is_gone_before_it_was_held_says_so(published):
    take_away(published[0])
    file = HeldFiles().release(published[0])
    with pytest.raises(AudioGoneError):
        list(file.blocks())


def test_closing_while_it_is_read_does_no_harm(published):
    file = HeldFile(published[0])
    pieces = file.blocks(10)
    first = next(pieces)
    take_path = published[0].path
    expected = audio(take_path)
    file.close()
    take_path.unlink()
    assert first + b"".join(pieces) == expected


@pytest.mark.parametrize("form", ["flac", "opus"])
def test_compressed_files_are_decoded(memory_path, form):
    pcm, reasons = stream(16_000, amplitude=1_000)
    layout = Layout(16_000, num_channels=2, format=form)
    (one,) = chunks(record(memory_path, spans(pcm, reasons, []), layout=layout))
    file = HeldFile(one)
    one.path.unlink()
    samples = np.frombuffer(b"".join(file.blocks(999)), "<i2").reshape(-1, 2)
    assert samples.shape == (16_000, 2)
    if form == "flac":
        assert np.array_equal(samples.T, pcm)


def test_a_file_whose_event_comes_too_late_is_opened_only_to_be_read(published):
    files = HeldFiles(most=2)
    for one in published:
        files.hold(one)
    before = open_files()
    late = [files.release(one) for one in published[:8]]
    assert open_files() == before
    assert b"".join(late[0].blocks()) == audio(published[0].path)
