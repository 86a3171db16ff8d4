"""What was delivered is delivered again from a file, to the last whole message."""

import dataclasses
import os
import tracemalloc
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import Block, BlockFlags, DeviceFrame, GapReason, StreamEnded, StreamHeader
from edgerec.wire.trace import TraceError, TraceWriter, open_input, read_trace, read_wav

HEADER = StreamHeader(48_000, 1, "user", "mic", "monotonic_raw", 17, "boot")
S = 1_000_000_000


def block(first_frame, frames=480, flags=0):
    return Block(
        DeviceFrame(first_frame), frames, first_frame + frames, 0, flags, bytes(2 * frames)
    )


def write_trace(path, deliveries):
    with TraceWriter(path) as writer:
        for delivery in deliveries:
            writer.write(delivery)
    return path


def write_wav(path, pcm, *, width=2, channels=1, rate=48_000):
    with wave.open(str(path), "wb") as wav:
        wav.setsampwidth(width)
        wav.setnchannels(channels)
        wav.setframerate(rate)
        wav.writeframes(pcm)
    return path


def read_until_error(messages):
    """Return what could be read, and the error behind it."""
    read = []
    with pytest.raises(TraceError) as raised:
        for message in messages:
            read.append(message)  # noqa: PERF402 -- what came before the error is the point
    return read, raised.value


DELIVERIES = [
    HEADER,
    block(0, flags=BlockFlags.NEW_STREAM),
    block(960),
    StreamEnded(GapReason.ABSENT, "unplugged"),
    dataclasses.replace(HEADER, sample_rate=44_100),
    block(0, flags=BlockFlags.NEW_STREAM),
]


def test_a_trace_delivers_what_was_written_except_that_an_end_is_told_by_the_next_header(tmp_path):
    path = write_trace(tmp_path / "user.trace", DELIVERIES)
    expected = [message for message in DELIVERIES if not isinstance(message, StreamEnded)]
    assert list(read_trace(path)) == expected
    assert list(open_input(path, "user")) == expected


def test_the_writer_counts_the_frames_it_has_written(tmp_path):
    with TraceWriter(tmp_path / "x") as writer:
        for delivery in DELIVERIES:
            writer.write(delivery)
        assert writer.frames == 3 * 480


def test_nothing_written_is_held_back(tmp_path):
    with TraceWriter(tmp_path / "x") as writer:
        writer.write(HEADER)
        writer.write(block(0))
        assert list(read_trace(tmp_path / "x")) == [HEADER, block(0)]


def test_a_trace_that_is_there_already_is_not_overwritten(tmp_path):
    path = write_trace(tmp_path / "x", [HEADER])
    with pytest.raises(FileExistsError):
        TraceWriter(path)


@given(cut=st.integers(0, 5_000))
def test_a_trace_cut_off_anywhere_is_read_to_its_last_whole_message(tmp_path_factory, cut):
    messages = [HEADER, block(0), block(480), block(960)]
    path = write_trace(tmp_path_factory.mktemp("trace") / "x", messages)
    data = path.read_bytes()
    ends = [data.index(b"\n") + 1]
    for message in messages[1:]:
        ends.append(ends[-1] + 40 + len(message.pcm))
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    whole = sum(end <= cut for end in ends)
    if cut in ends:
        assert list(read_trace(path)) == messages[:whole]
        return
    read, error = read_until_error(read_trace(path))
    assert read == messages[:whole]
    assert error.offset == ([0, *ends])[whole]
    assert str(path) in str(error)


def test_a_malformed_trace_is_read_up_to_the_byte_that_the_error_names(tmp_path):
    path = write_trace(tmp_path / "x", [HEADER, block(0)])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"rubbish")
    read, error = read_until_error(read_trace(path))
    assert read == [HEADER, block(0)]
    assert (error.path, error.offset) == (path, size)


def test_a_trace_of_the_other_track_is_refused(tmp_path):
    path = write_trace(tmp_path / "x", [HEADER, block(0)])
    with pytest.raises(TraceError, match="a trace of user, given as bot"):
        list(open_input(path, "bot"))


@pytest.mark.parametrize("content", [b"", b"OggS", b"fLaC"])
def test_a_file_of_another_kind_is_refused_with_a_way_out(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="ffmpeg"):
        open_input(path, "user")


@given(
    frames=st.integers(0, 5_000), rate=st.sampled_from([8_000, 44_100]), channels=st.integers(1, 3)
)
def test_a_wav_file_is_a_device_exactly_at_its_rate(tmp_path_factory, frames, rate, channels):
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    pcm = bytes(index % 251 for index in range(frames * channels * 2))
    write_wav(path, pcm, channels=channels, rate=rate)
    header, *blocks = open_input(path, "bot")
    assert header == StreamHeader(rate, channels, "bot", "x.wav", "monotonic")
    assert b"".join(each.pcm for each in blocks) == pcm
    position = 0
    for each in blocks:
        assert each.first_frame == position
        assert bool(each.flags & BlockFlags.NEW_STREAM) == (position == 0)
        position += each.frames
        # It arrives as its last frame ends, so that frame 0 is at instant 0; to the nanosecond.
        assert 0 <= position * S - each.arrived_ns * rate < rate
    assert position == frames


@pytest.mark.parametrize("width", [2, 3, 4])
def test_wider_samples_keep_their_upper_16_bits(tmp_path, width):
    values = [0, 1, -1, 2**15 - 1, -(2**15), 12_345, -12_345]
    pcm = b"".join(
        (value << 8 * (width - 2)).to_bytes(width, "little", signed=True) for value in values
    )
    path = write_wav(tmp_path / "x.wav", pcm, width=width)
    _, only = read_wav(path, "user")
    assert only.pcm == b"".join(value.to_bytes(2, "little", signed=True) for value in values)


@pytest.mark.parametrize("whole", [8_999, 9_600], ids=["in a block", "between blocks"])
def test_a_wav_file_cut_off_in_a_frame_is_read_to_its_last_whole_one(tmp_path, whole):
    path = write_wav(tmp_path / "x.wav", bytes(4 * 10_000), channels=2)
    path.write_bytes(path.read_bytes()[: 4 * (whole - 10_000) + 1])
    (_, *blocks), error = read_until_error(read_wav(path, "user"))
    assert sum(each.frames for each in blocks) == whole
    assert all(len(each.pcm) == 4 * each.frames > 0 for each in blocks)
    assert f"promises 10000 frames, it has {whole}" in str(error)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"rate": 100}, "100 Hz"),
        ({"channels": 65}, "65 channels"),
    ],
)
def test_a_wav_file_that_no_device_would_deliver_is_refused(tmp_path, wrong, problem):
    path = write_wav(tmp_path / "x.wav", bytes(260), **wrong)
    with pytest.raises(TraceError, match=problem):
        list(read_wav(path, "user"))


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF",
        b"RIFF\x04\0\0\0WAVE",
        b"RIFF\x04\0\0\0AVI ",
        b"RIFF\x18\0\0\0WAVELIST\xf0\xff\xff\xffdata\4\0\0\0",
    ],
)
def test_a_riff_file_that_is_no_wav_is_refused_by_name(tmp_path, content):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"x\.wav.*can't read this: a (RIFF|WAV)"):
        list(open_input(path, "user"))


def test_a_long_file_is_read_in_fixed_memory(tmp_path):
    seconds = 60
    path = write_trace(
        tmp_path / "x", [HEADER, *(block(4_800 * n, 4_800) for n in range(10 * seconds))]
    )
    wav = write_wav(tmp_path / "x.wav", bytes(2 * 48_000 * seconds))
    for source in (read_trace(path), read_wav(wav, "user")):
        tracemalloc.start()
        for _ in source:
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Two reads of 64 KiB, a block, and what the interpreter holds: a tenth of the file.
        assert peak_bytes < path.stat().st_size / 10


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027])
def test_a_trace_is_raw_audio_and_for_its_owner_only(tmp_path, umask):
    before = os.umask(umask)
    try:
        with TraceWriter(tmp_path / "a.trace"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.trace").stat().st_mode & 0o777 == 0o600
