import wave

import numpy as np
import pytest

from edgerec.store.disk import StoreError
from edgerec.store.writing.tags import BEXT_BYTES
from edgerec.store.writing.wav import (
    HEADER_BYTES,
    WavHeader,
    WavWriter,
    max_wav_frames,
    parse_wav_header,
    tag_wav,
)


def test_header_is_that_of_the_standard_with_a_bext_chunk_in_front_of_the_audio():
    # RIFF, length - 8, WAVE, fmt, 16, PCM, 2 channels, 16 kHz, 64000 B/s, 4 B/frame, 16 bit
    start = "52494646 b84e1d00 57415645 666d7420 10000000 0100 0200 803e0000 00fa0000 0400 1000"
    bext, data = "62657874 8c020000", "64617461 004c1d00"
    expected = bytes.fromhex(start + bext) + bytes(652) + bytes.fromhex(data)
    assert WavHeader(16000, 2, 1920000).encode() == expected
    assert len(expected) == HEADER_BYTES


def test_audio_begins_where_any_program_may_map_it():
    assert HEADER_BYTES % 64 == 0


def test_header_can_be_read_back():
    header = WavHeader(44100, 1, 88200)
    assert parse_wav_header(header.encode() + b"audio") == header
    assert header.frames == 44100


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        bytes(HEADER_BYTES),
        WavHeader(16000, 2, 8).encode().replace(b"fmt ", b"LIST"),
        WavHeader(16000, 2, 8).encode()[:22] + b"\0\0" + WavHeader(16000, 2, 8).encode()[24:],
        WavHeader(16000, 2, 2**32 - HEADER_BYTES).encode()[:-4] + b"\xff\xff\xff\xff",
    ],
)
def test_what_is_no_header_of_ours_is_refused(data):
    with pytest.raises(ValueError, match="WAV"):
        parse_wav_header(data)


def test_file_is_readable_by_anyone_after_each_sync_though_never_closed(tmp_path):
    path = tmp_path / "a.wav"
    writer = WavWriter(path, 8000, 2)
    pcm = np.arange(20, dtype=np.int16).reshape(-1, 2)
    for frames in (10, 20):
        writer.write(pcm)
        writer.sync()
        with wave.open(str(path)) as file:
            assert file.getnframes() == frames == writer.frames
            assert file.readframes(frames) == pcm.astype("<i2").tobytes() * (frames // 10)
    writer.abandon()


def test_what_is_written_is_the_kernels_before_any_sync(tmp_path):
    path = tmp_path / "a.wav"
    writer = WavWriter(path, 8000, 1)
    writer.write(np.ones((5, 1), dtype=np.int16))
    assert path.stat().st_size == HEADER_BYTES + 5 * 2
    writer.abandon()


def test_closing_makes_the_header_true(tmp_path):
    path = tmp_path / "a.wav"
    writer = WavWriter(path, 8000, 1)
    writer.write(np.ones((5, 1), dtype=np.int16))
    writer.close()
    assert parse_wav_header(path.read_bytes()).frames == 5


def test_tagging_moves_no_audio_and_works_on_a_file_that_was_made_read_only(tmp_path):
    path = tmp_path / "a.wav"
    writer = WavWriter(path, 8000, 1)
    writer.write(np.ones((5, 1), dtype=np.int16))
    writer.close()
    plain = path.read_bytes()
    path.chmod(0o440)
    tag_wav(path, b"x" * BEXT_BYTES)
    assert path.stat().st_mode & 0o200  # root may write in any case, the service may not
    header = parse_wav_header(path.read_bytes())
    assert (header.frames, header.bext) == (5, b"x" * BEXT_BYTES)
    assert path.read_bytes().replace(b"x" * BEXT_BYTES, bytes(BEXT_BYTES)) == plain


def test_a_file_that_exists_is_never_written_over(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"a recording")
    with pytest.raises(StoreError, match=r"creating .*a\.wav: File exists"):
        WavWriter(path, 8000, 1)
    assert path.read_bytes() == b"a recording"


def test_samples_of_any_memory_layout_are_written_in_frame_order(tmp_path):
    path = tmp_path / "a.wav"
    tracks = np.array([[1, 2, 3], [-1, -2, -3]], dtype=np.int16)
    writer = WavWriter(path, 8000, 2)
    writer.write(tracks.T)
    writer.close()
    assert np.frombuffer(path.read_bytes()[HEADER_BYTES:], "<i2").tolist() == [1, -1, 2, -2, 3, -3]


@pytest.mark.parametrize("channels", [1, 2])
def test_the_longest_file_still_has_a_header_and_a_frame_more_has_none(channels):
    frames = max_wav_frames(channels)
    header = WavHeader(16000, channels, frames * 2 * channels)
    assert parse_wav_header(header.encode()).frames == frames
    with pytest.raises(Exception, match=r"format requires|argument out of range"):
        WavHeader(16000, channels, (frames + 1) * 2 * channels).encode()


def test_a_header_with_any_byte_damaged_is_no_header():
    head = WavHeader(16_000, 2, 64_000).encode()
    bext_start = len(head) - BEXT_BYTES - 8  # whose content is believed, whatever it is
    for place in (*range(bext_start), *range(len(head) - 8, len(head))):
        for bit in range(8):
            damaged = head[:place] + bytes([head[place] ^ 1 << bit]) + head[place + 1 :]
            with pytest.raises(ValueError, match="not the header"):
                parse_wav_header(damaged)
