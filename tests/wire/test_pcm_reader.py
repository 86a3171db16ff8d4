"""What files and pipes hold, as block streams to be pushed."""

import io
import struct
import wave

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.wire.blocks import Decoder
from edgerec.wire.pcm import BLOCK_MS, PcmInputError, block_stream
from edgerec.wire.wav import PcmFormat

PCM = bytes(range(256)) * 100  # 12,800 frames of mono


def wav(pcm=PCM, rate=16_000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def decoded(data, raw=None):
    """Return the header and the blocks of what would be pushed."""
    decoder = Decoder()
    pushed = block_stream(io.BytesIO(data), "bot", "x", raw)
    messages = [message for piece in pushed for message in decoder.feed(piece)]
    assert not decoder.unfinished
    return messages


def test_a_wav_file_becomes_blocks_without_stamps():
    header, *blocks = decoded(wav(rate=24_000, channels=2))
    assert header == StreamHeader(24_000, 2, "bot", "x", "monotonic_raw")
    assert b"".join(block.pcm for block in blocks) == PCM
    assert {block.arrived_ns for block in blocks} == {0}
    assert max(block.frames for block in blocks) == 24_000 * BLOCK_MS // 1000
    assert [block.first_frame for block in blocks] == [n * 2_400 for n in range(len(blocks))]


def test_what_stands_before_and_behind_the_audio_of_a_wav_is_passed_over():
    data = wav()
    at = data.index(b"data")
    tags = b"LIST" + struct.pack("<I", 5) + b"title" + b"\0"
    _, *blocks = decoded(data[:at] + tags + data[at:] + b"LIST" + struct.pack("<I", 0))
    assert b"".join(block.pcm for block in blocks) == PCM


def test_raw_pcm_is_what_it_is_said_to_be_whatever_it_begins_with():
    header, *blocks = decoded(b"RIFF" + PCM, PcmFormat(44_100, 2))
    assert (header.sample_rate, header.channels) == (44_100, 2)
    assert b"".join(block.pcm for block in blocks) == b"RIFF" + PCM


def test_a_block_stream_is_passed_on_as_it_is():
    stream = b"".join(block_stream(io.BytesIO(PCM), "bot", "x", PcmFormat(8_000, 1)))
    assert b"".join(block_stream(io.BytesIO(stream), "bot", "y", None)) == stream


def test_nothing_is_nothing():
    assert list(block_stream(io.BytesIO(b""), "bot", "x", None)) == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ID3\x04 an mp3", "neither a WAV file nor a block stream .* --rate"),
        (b"RIFF\0\0\0\0AVI ", "not a WAV"),
        (b"RIFF\0\0\0\0WAVE", "without audio"),
        (wav()[:30], "format is cut off"),
        (wav().replace(b"fmt ", b"fmx "), "without a format"),
        (wav(rate=2_000), "2000 Hz"),
        (wav(channels=65), "65 channels"),
        (wav().replace(b"fmt \x10\0\0\0\x01\0", b"fmt \x10\0\0\0\x03\0"), "format 3.*ffmpeg"),
        (b"RIFF\0\0\0\0WAVEJUNK\xff\xff\xff\x7f", "without audio, as its chunk 'JUNK'"),
    ],
)
def test_what_can_not_be_pushed_is_refused_before_anything_was(data, says):
    with pytest.raises(PcmInputError, match=says):
        next(block_stream(io.BytesIO(data), "bot", "x", None))


@pytest.mark.parametrize(
    ("data", "raw", "says"),
    [
        (wav()[:-1], None, "ends inside a frame"),
        (wav()[:-200], None, "200 bytes are missing"),
        (PCM[:-1], PcmFormat(8_000, 1), "ends inside a frame"),
        (PCM[:-2], PcmFormat(8_000, 2), "ends inside a frame, 2 bytes"),
    ],
)
def test_what_is_cut_off_is_pushed_as_far_as_it_goes_and_then_told(data, raw, says):
    decoder, blocks = Decoder(), []
    with pytest.raises(PcmInputError, match=says):
        for piece in block_stream(io.BytesIO(data), "bot", "x", raw):
            blocks += [m for m in decoder.feed(piece) if isinstance(m, Block)]
    assert not decoder.unfinished
    pcm = b"".join(block.pcm for block in blocks)
    assert PCM.startswith(pcm)
    assert len(PCM) - len(pcm) <= 200


def test_what_has_no_end_is_read_in_pieces():
    class Endless:
        taken = 0

        def read(self, size):
            self.taken += size
            return bytes(size)

    file = Endless()
    pieces = block_stream(file, "bot", "x", PcmFormat(16_000, 1))
    for _ in range(11):
        next(pieces)
    assert file.taken == 10 * 16_000 * BLOCK_MS // 1000 * 2
