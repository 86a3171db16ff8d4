import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgerec.store.disk import StoreError
from edgerec.store.records.naming import OPUS_RATES_HZ, FileKey
from edgerec.store.writing.compressed import CompressedWriter, read_compressed_header, tag_date
from edgerec.store.writing.tags import Tags
from tests.rigs.failing_disk import failing_call, open_files

RATE = 16_000
BOTH = ("flac", "opus")
TAGS = Tags("k1", FileKey("9f3a01c2", 12, "chunk"), ("user", "bot"), RATE, 0)
DATE = "2026-11-22T10:15:00.123456Z"


def chirp(frames, rate=RATE):
    """Left a tone that rises, right one that falls: no two instants look the same."""
    at_s = np.arange(frames) / rate
    sweep = np.cumsum(300 + 1_500 * at_s / at_s[-1]) / rate
    return (8_000 * np.sin(2 * np.pi * np.stack([sweep, sweep[::-1]], axis=1))).astype(np.int16)


def write(path, form, pieces, tags=TAGS):
    writer = CompressedWriter(path, form, tags)
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return path


def decoded(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def test_flac_is_bit_exact_however_the_audio_arrived(tmp_path):
    pcm = np.random.default_rng(0).integers(-32_768, 32_768, (30_000, 2), np.int16)
    at_once = write(tmp_path / "a.flac", "flac", [pcm])
    in_pieces = write(tmp_path / "b.flac", "flac", np.split(pcm, [1, 4_000, 4_001, 20_000]))
    assert np.array_equal(decoded(at_once), pcm)
    assert at_once.read_bytes() == in_pieces.read_bytes()


def test_flac_says_the_md5_of_its_audio_and_how_long_it_is(tmp_path):
    pcm = chirp(10_000)
    content = write(tmp_path / "a.flac", "flac", [pcm]).read_bytes()
    assert content[26:42] == hashlib.md5(pcm.tobytes()).digest()  # STREAMINFO, RFC 9639, 8.2
    assert int.from_bytes(content[22:26]) == 10_000


@pytest.mark.parametrize("rate", OPUS_RATES_HZ)
def test_opus_has_every_frame_and_each_at_its_place(tmp_path, rate):
    frames = 2 * rate + 17  # no multiple of a packet
    pcm = chirp(frames, rate)
    tags = Tags("k1", TAGS.key, ("user", "bot"), rate, 0)
    path = write(tmp_path / "a.opus", "opus", np.array_split(pcm, 9), tags)
    header = read_compressed_header(path)
    assert (header.frames, header.sample_rate, header.channels) == (frames, rate, 2)
    # Where the sound moves fast, one frame of shift would already cost more than this allows.
    for sent, got in zip(pcm.T.astype(float), decoded(path).T.astype(float), strict=True):
        assert np.corrcoef(sent, got)[0, 1] > max(
            0.9, np.corrcoef(sent[:-1], got[1:])[0, 1], np.corrcoef(sent[1:], got[:-1])[0, 1]
        )


@pytest.mark.parametrize("form", BOTH)
def test_a_date_that_is_set_later_leaves_the_file_whole(tmp_path, form):
    pcm = chirp(20_000)
    path = write(tmp_path / f"a.{form}", form, [pcm])
    audio, size = decoded(path), path.stat().st_size
    tag_date(path, DATE)
    assert path.stat().st_size == size
    assert np.array_equal(decoded(path), audio)  # libogg drops a page whose checksum is wrong
    tags = ["-show_entries", "format_tags:stream_tags"]
    shown = subprocess.run(
        ["ffprobe", "-v", "error", *tags, path], check=True, capture_output=True, text=True
    ).stdout
    assert f"date={DATE}" in shown.replace("DATE", "date")


def test_a_date_has_no_place_in_a_file_without_comments(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(bytes(5_000))
    with pytest.raises(StoreError, match="no date among its comments"):
        tag_date(path, DATE)
    assert path.read_bytes() == bytes(5_000)


@pytest.mark.parametrize("form", BOTH)
def test_a_file_made_read_only_by_an_interrupted_publish_takes_a_date(tmp_path, form):
    path = write(tmp_path / f"a.{form}", form, [chirp(2_000)])
    path.chmod(0o440)
    tag_date(path, DATE)
    assert path.stat().st_mode & 0o200


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_at_any_call_is_told_of(tmp_path, form, error):
    """libsndfile calls back from C, where an exception of ours could go unseen."""
    for nth in range(1, 100):
        path = tmp_path / f"{nth}.{form}"
        with failing_call(nth, error) as calls:
            try:
                write(path, form, np.split(chirp(40_000), 8))
            except StoreError as failure:
                assert failure.errno == error
                assert failure.path == path
            else:
                assert calls() < nth
        if calls() < nth:
            break
    assert nth > 5
    whole = write(tmp_path / f"whole.{form}", form, [chirp(40_000)])
    assert np.array_equal(decoded(path), decoded(whole))


@pytest.mark.parametrize("form", BOTH)
def test_an_abandoned_file_is_written_no_more_and_closed(tmp_path, form):
    path = tmp_path / f"a.{form}"
    writer = CompressedWriter(path, form, TAGS)
    writer.write(chirp(9_000))
    before = path.read_bytes()
    writer.abandon()
    assert path.read_bytes() == before
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("form", BOTH)
def test_a_file_that_exists_is_never_written_over(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(b"a recording")
    with pytest.raises(StoreError, match="File exists"):
        CompressedWriter(path, form, TAGS)
    assert path.read_bytes() == b"a recording"


def test_what_is_no_recording_is_refused_by_name(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"no recording")
    with pytest.raises(StoreError, match=r"reading .*a\.flac: "):
        read_compressed_header(path)


@pytest.mark.parametrize("form", BOTH)
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path, form):
    writer = CompressedWriter(tmp_path / f"a.{form}", form, TAGS)
    piece = chirp(RATE // 4)
    for _ in range(20):
        writer.write(piece)
    held = resident_bytes()
    for _ in range(400):
        writer.write(piece)
    assert resident_bytes() - held < 400 * piece.nbytes / 10  # a tenth of what went through
    writer.abandon()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_libsndfile_is_not_loaded_before_there_is_something_to_compress():
    code = (
        "import sys, edgerec.engine.engine, edgerec.store.archive.verify;"
        "sys.exit('soundfile' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
