"""A block stream written as WAV, raw PCM, or as it is."""

import io
import wave

import pytest

from edgerec.audio import Block, BlockFlags, DeviceFrame, StreamHeader
from edgerec.wire.blocks import Decoder
from edgerec.wire.pcm import PcmOutput, PcmOutputError

HEADER = StreamHeader(16_000, 2, "bot", "loopback", "monotonic_raw")


def block(first_frame, pcm):
    frames = len(pcm) // 4
    return Block(DeviceFrame(first_frame), frames, 1, 0, BlockFlags(0), pcm)


def written(form, *messages, seekable=True):
    file = io.BytesIO()
    output = PcmOutput(file, form, seekable=seekable)
    for message in messages:
        output.write(message)
    output.finish()
    return file.getvalue()


FIRST, SECOND = bytes(range(1, 41)), bytes(range(101, 141))


def test_raw_is_the_audio_and_nothing_else():
    assert written("raw", HEADER, block(0, FIRST), block(10, SECOND)) == FIRST + SECOND


def test_a_wav_file_has_its_true_length():
    file = io.BytesIO(written("wav", HEADER, block(0, FIRST), block(10, SECOND)))
    with wave.open(file) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 2, 2)
        assert wav.getnframes() == 20
        assert wav.readframes(99) == FIRST + SECOND


def test_in_a_pipe_a_wav_file_has_no_end():
    data = written("wav", HEADER, block(0, FIRST), seekable=False)
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert data[44:] == FIRST


def test_a_stream_is_passed_on_as_it_came():
    messages = [HEADER, block(0, FIRST), block(50, SECOND)]
    assert list(Decoder().feed(written("stream", *messages))) == messages


def test_a_counted_loss_is_silence_of_its_length():
    data = written("raw", HEADER, block(7, FIRST), block(20_017, SECOND))
    assert data == FIRST + bytes(20_000 * 4) + SECOND


def test_where_it_begins_in_the_middle_nothing_is_filled_and_a_new_stream_goes_on_behind():
    again = StreamHeader(16_000, 2, "bot", "other", "monotonic_raw")
    messages = [HEADER, block(1_000, FIRST), again, block(500, SECOND)]
    assert written("raw", *messages) == FIRST + SECOND


def test_another_rate_ends_it_with_what_came_before_whole():
    file = io.BytesIO()
    output = PcmOutput(file, "wav", seekable=True)
    output.write(HEADER)
    output.write(block(0, FIRST))
    with pytest.raises(PcmOutputError, match="44100 Hz and 2 channels after 16000 Hz"):
        output.write(StreamHeader(44_100, 2, "bot", "loopback", "monotonic_raw"))
    output.finish()
    with wave.open(io.BytesIO(file.getvalue())) as wav:
        assert wav.readframes(99) == FIRST


def test_the_length_in_seconds_counts_losses():
    output = PcmOutput(io.BytesIO(), "raw", seekable=False)
    assert output.seconds == 0.0
    output.write(HEADER)
    output.write(block(0, FIRST))
    output.write(block(15_990, FIRST))
    assert output.seconds == 1.0


@pytest.mark.parametrize("written", [SECOND, SECOND[:-1]])
def test_an_interrupt_in_or_just_behind_a_write_leaves_the_length_in_whole_frames(written):
    class Interrupted(io.BytesIO):
        def write(self, data):
            super().write(written if data == SECOND else data)
            if data == SECOND:
                raise KeyboardInterrupt

    file = Interrupted()
    output = PcmOutput(file, "wav", seekable=True)
    output.write(HEADER)
    output.write(block(0, FIRST))
    with pytest.raises(KeyboardInterrupt):
        output.write(block(10, SECOND))
    output.finish()
    with wave.open(io.BytesIO(file.getvalue())) as wav:
        assert wav.readframes(99) == FIRST + SECOND[: len(written) // 4 * 4]
