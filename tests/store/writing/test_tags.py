"""What other programs read in our files: sox, ffmpeg and the standard library are really asked."""

import json
import subprocess
import wave

import numpy as np
import pytest

from edgerec.store.records.naming import FileKey
from edgerec.store.writing.compressed import CompressedWriter
from edgerec.store.writing.tags import BEXT_BYTES, Tags
from edgerec.store.writing.wav import WavWriter, tag_wav

RATE = 16_000
UTC_NS = 1_795_342_500_123_456_789  # 2026-11-22T10:15:00.123456789Z
TAGS = Tags("k1", FileKey("9f3a01c2", 12, "chunk"), ("user", "bot"), RATE, UTC_NS)
PCM = np.random.default_rng(1).integers(-9_000, 9_000, (4_000, 2), np.int16)


@pytest.fixture
def tagged_wav(tmp_path):
    path = tmp_path / "a.wav"
    writer = WavWriter(path, RATE, 2)
    writer.write(PCM)
    writer.close()
    tag_wav(path, TAGS.bext())
    return path


def read_by(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


def tags_seen_by_ffmpeg(path):
    shown = read_by("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", path)
    found = json.loads(shown)
    tags = found["format"].get("tags", {}) | found["streams"][0].get("tags", {})
    return {name.lower(): value for name, value in tags.items()}


def test_bext_has_the_fields_of_the_standard_where_the_standard_has_them():
    bext = TAGS.bext()
    assert len(bext) == BEXT_BYTES
    assert bext[:256].rstrip(b"\0") == (
        b"k1 9f3a01c2_000012_chunk user,bot 2026-11-22T10:15:00.123456Z"
    )
    assert bext[256:288].rstrip(b"\0") == b"edgerec"
    assert bext[288:320].rstrip(b"\0") == b"9f3a01c2_000012_chunk"
    assert bext[320:338] == b"2026-11-2210:15:00"
    since_midnight = 10 * 3600 + 15 * 60
    reference = since_midnight * RATE + RATE * 123_456_789 // 1_000_000_000
    assert int.from_bytes(bext[338:346], "little") == reference
    assert int.from_bytes(bext[346:348], "little") == 1
    assert bext[602:].rstrip(b"\0") == b"A=PCM,F=16000,W=16,M=stereo,T=edgerec\r\n"


def test_longest_texts_fit_into_a_bext_chunk():
    key = FileKey("9f3a01c2", 10**9, "turn-user")
    bext = Tags("k" * 64, key, ("user", "bot"), 192_000, UTC_NS).bext()
    assert bext[320 - 32 : 320].rstrip(b"\0") == b"9f3a01c2_1000000000_turn-user"
    assert b"M=stereo,T=edgerec\r\n" in bext


def test_a_file_of_one_channel_says_mono():
    assert b"M=mono" in Tags("k1", TAGS.key, ("mix",), RATE, UTC_NS).bext()


def test_every_reader_finds_the_audio_of_a_wav_file_behind_its_tags(tagged_wav):
    with wave.open(str(tagged_wav)) as file:
        assert file.readframes(file.getnframes()) == PCM.tobytes()
    assert read_by("sox", tagged_wav, "-t", "raw", "-") == PCM.tobytes()
    assert read_by("ffmpeg", "-v", "error", "-i", tagged_wav, "-f", "s16le", "-") == PCM.tobytes()


def test_ffmpeg_reads_the_tags_of_a_wav_file(tagged_wav):
    tags = tags_seen_by_ffmpeg(tagged_wav)
    assert tags["encoded_by"] == "edgerec"
    assert tags["originator_reference"] == "9f3a01c2_000012_chunk"
    assert (tags["date"], tags["creation_time"]) == ("2026-11-22", "10:15:00")
    assert tags["time_reference"] == str(int.from_bytes(TAGS.bext()[338:346], "little"))


@pytest.mark.parametrize("form", ["flac", "opus"])
def test_ffmpeg_reads_the_comments_of_a_compressed_file(tmp_path, form):
    path = tmp_path / f"a.{form}"
    writer = CompressedWriter(path, form, TAGS)
    writer.write(PCM)
    writer.close()
    tags = tags_seen_by_ffmpeg(path)
    assert tags["date"] == "2026-11-22T10:15:00.123456Z"
    assert (tags["artist"], tags["album"], tags["track"]) == ("k1", "9f3a01c2", "12")
    assert tags["title"] == "k1 9f3a01c2_000012_chunk user,bot"
