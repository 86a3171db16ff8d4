"""WAV files as programs really write them: into pipes, with tags, wide, with many channels."""

import io
import struct
import tracemalloc
import wave

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.capture.pcm_input import block_stream
from edgerec.capture.trace import open_input
from edgerec.capture.wire import Decoder

PCM = bytes(range(256)) * 100  # 12,800 frames of mono
PCM_GUID_REST = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def wav(pcm=PCM, *, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, 16_000, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def extensible(pcm=PCM, *, channels=1, width=2):
    """As ffmpeg and sox write more than 16 bits, or more than two channels."""
    frame_bytes = channels * width
    fmt = struct.pack(
        "<HHIIHH", 0xFFFE, channels, 16_000, 16_000 * frame_bytes, frame_bytes, width * 8
    )
    fmt += struct.pack("<HHIH14s", 22, width * 8, 0, 1, PCM_GUID_REST)
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    return data + b"data" + struct.pack("<I", len(pcm)) + pcm


def pushed(data, _path):
    """Return what `edgerec feed` makes of it."""
    decoder = Decoder()
    pieces = block_stream(io.BytesIO(data), "bot", "x.wav", None)
    return [message for piece in pieces for message in decoder.feed(piece)]


def replayed(data, path):
    """Return what `edgerec replay` makes of it."""
    (path / "x.wav").write_bytes(data)
    return list(open_input(path / "x.wav", "bot"))


@pytest.fixture(params=[pushed, replayed])
def read(request, tmp_path):
    """Read a WAV file's bytes in each of the ways there are; returns its format and audio."""

    def reading(data):
        header, *blocks = request.param(data, tmp_path)
        assert isinstance(header, StreamHeader)
        assert all(isinstance(block, Block) for block in blocks)
        return header.channels, b"".join(block.pcm for block in blocks)

    return reading


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_one_from_a_pipe_does_not_know_its_length_and_is_whole(read, size):
    data = wav()
    at = data.index(b"data") + 4
    assert read(data[:at] + struct.pack("<I", size) + data[at + 4 :]) == (1, PCM)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_an_extensible_one_is_pcm_by_its_sub_format(read, channels):
    assert read(extensible(channels=channels)) == (channels, PCM)


@pytest.mark.parametrize("written", [wav, extensible])
@pytest.mark.parametrize("width", [3, 4])
def test_wider_samples_keep_their_upper_16_bits(read, written, width):
    samples = [b"\xaa" * (width - 2) + bytes([n, 255 - n]) for n in range(256)]
    expected = b"".join(sample[-2:] for sample in samples)
    assert read(written(b"".join(samples), width=width)) == (1, expected)


def test_tags_before_the_audio_are_passed_over_in_fixed_memory(read):
    picture = 20_000_000
    data = wav()
    at = data.index(b"fmt ")
    data = data[:at] + b"LIST" + struct.pack("<I", picture) + bytes(picture) + data[at:]
    tracemalloc.start()
    try:
        assert read(data) == (1, PCM)
        assert tracemalloc.get_traced_memory()[1] < picture / 10
    finally:
        tracemalloc.stop()
