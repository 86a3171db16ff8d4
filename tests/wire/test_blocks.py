"""The block stream: what is written is read again, and what is wrong is refused where it is."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import Block, DeviceFrame, StreamHeader
from edgerec.wire.blocks import (
    BLOCK_HEADER,
    MAGIC,
    MAX_BLOCK_BYTES,
    MAX_LINE_BYTES,
    Decoder,
    WireError,
    encode_block,
    encode_stream_header,
)

HEADER = StreamHeader(48_000, 2, "user", "alsa:Mic,1", "monotonic_raw", 17, "boot")
BLOCK = Block(DeviceFrame(480), 3, 1_000, 900, 1, bytes(range(12)))

NAMES = st.text(max_size=40).filter(str.isprintable)
headers = st.builds(
    StreamHeader,
    sample_rate=st.integers(4_000, 384_000),
    channels=st.integers(1, 64),
    track=st.sampled_from(["user", "bot"]),
    device=NAMES,
    clock=st.sampled_from(["monotonic_raw", "monotonic"]),
    utc_ns=st.integers(0, 2**63 - 1),
    boot_id=NAMES,
    source=st.none() | NAMES,
)


@st.composite
def streams(draw):
    messages = []
    for header in draw(st.lists(headers, min_size=1, max_size=3)):
        messages.append(header)
        for frames in draw(st.lists(st.integers(1, 20), max_size=3)):
            instants = st.integers(0, 2**63 - 1)
            pcm = bytes(frames * header.channels * 2)
            first_frame = DeviceFrame(draw(st.integers(0, 2**62)))
            flags = draw(st.integers(0, 7))
            messages.append(Block(first_frame, frames, draw(instants), draw(instants), flags, pcm))
    return messages


def encode(message):
    return (
        encode_stream_header(message)
        if isinstance(message, StreamHeader)
        else encode_block(message)
    )


@given(streams(), st.integers(1, 200))
def test_a_stream_cut_anywhere_is_read_as_it_was_written(messages, piece_bytes):
    data = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    read = []
    for start in range(0, len(data), piece_bytes):
        read += decoder.feed(data[start : start + piece_bytes])
    assert read == messages
    assert not decoder.unfinished
    assert decoder.offset == len(data)


@given(streams(), st.data())
def test_a_truncated_stream_is_unfinished_except_between_messages(messages, data):
    encoded = [encode(message) for message in messages]
    ends = {sum(map(len, encoded[: count + 1])) for count in range(len(encoded))}
    cut = data.draw(st.integers(0, sum(map(len, encoded))))
    decoder = Decoder()
    list(decoder.feed(b"".join(encoded)[:cut]))
    assert decoder.unfinished == (cut not in ends)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_decoder_do_anything_but_refuse_or_wait(data):
    decoder = Decoder()
    try:
        list(decoder.feed(encode_stream_header(HEADER) + data))
    except WireError as error:
        assert error.offset >= len(encode_stream_header(HEADER))


def block_header(**changes):
    names = ("magic", "flags", "frames", "adc_error_us", "first_frame", "arrived_ns", "adc_ns")
    good = dict(zip(names, (MAGIC, 0, 3, 0, 0, 0, 0), strict=True))
    return BLOCK_HEADER.pack(*(good | changes).values())


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (b"XXXX", "not the beginning of a block"),
        (block_header(frames=0), "a block of 0 frames"),
        (block_header(frames=MAX_BLOCK_BYTES), "a block of"),
        (block_header(adc_error_us=1), "impossible position or time"),
        (block_header(first_frame=2**63), "impossible position or time"),
        (block_header(arrived_ns=-1), "impossible position or time"),
        (block_header(adc_ns=-1), "impossible position or time"),
        (b"{" + b" " * MAX_LINE_BYTES, "longer than"),
        (b"{nonsense\n", "not JSON"),
        (b"{" + b'"a":[' * 2_000, "longer than"),
        (b'{"edgerec_stream": 2}\n', "edgerec_stream is 2, expected 1"),
    ],
)
def test_a_malformed_message_is_refused_at_its_first_byte_and_what_came_before_is_kept(
    wrong, problem
):
    before = encode_stream_header(HEADER) + encode_block(BLOCK)
    messages = Decoder().feed(before + wrong)
    assert [next(messages), next(messages)] == [HEADER, BLOCK]
    with pytest.raises(WireError, match=problem) as refused:
        next(messages)
    assert refused.value.offset == len(before)


@pytest.mark.parametrize("beginning", [b"X", b"EX", b"ECRX"])
def test_rubbish_is_refused_before_a_whole_block_header_of_it_is_there(beginning):
    decoder = Decoder()
    list(decoder.feed(encode_stream_header(HEADER)))
    with pytest.raises(WireError):
        list(decoder.feed(beginning))


def test_a_block_before_any_header_line_is_refused():
    with pytest.raises(WireError, match="before the header line"):
        list(Decoder().feed(encode_block(BLOCK)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 100),
        ("sample_rate", 10**6),
        ("channels", 0),
        ("channels", 65),
        ("track", "both"),
        ("clock", "sundial"),
        ("utc_ns", -1),
        ("utc_ns", 2**63),
        ("dated", 1),
        ("source", 7),
    ],
)
def test_a_header_line_with_an_impossible_value_is_refused_by_name(field, value):
    line = encode_stream_header(dataclasses.replace(HEADER, **{field: value}))
    with pytest.raises(WireError, match=f"{field} is {value!r}"):
        list(Decoder().feed(line))


def test_every_field_of_a_header_comes_back_and_null_is_its_default():
    header = StreamHeader(48_000, 2, "mix", "mic", "monotonic", 17, "boot", True, True, "source")
    defaults = {one.name: one.default for one in dataclasses.fields(StreamHeader)}
    assert all(getattr(header, name) != default for name, default in defaults.items())
    line = encode_stream_header(header)
    assert list(Decoder().feed(line)) == [header]
    optional = [name for name, one in defaults.items() if one is not dataclasses.MISSING]
    nulls = json.dumps(json.loads(line) | dict.fromkeys(optional)).encode() + b"\n"
    assert list(Decoder().feed(nulls)) == [StreamHeader(48_000, 2, "mix", "mic", "monotonic")]


def test_every_wrong_field_of_a_header_line_is_named_at_once():
    line = b'{"edgerec_stream": 1, "sample_rate": true, "channels": "2", "dtype": "f32"}\n'
    with pytest.raises(WireError) as refused:
        list(Decoder().feed(line))
    for field in ("sample_rate", "channels", "dtype", "track", "device", "clock"):
        assert field in str(refused.value)


def test_the_stream_is_what_the_contract_shows():
    assert encode_block(BLOCK) == (
        b"ECRB\x01\0\0\0\x03\0\0\0\0\0\0\0"
        b"\xe0\x01\0\0\0\0\0\0\xe8\x03\0\0\0\0\0\0\x84\x03\0\0\0\0\0\0" + bytes(range(12))
    )
    assert encode_stream_header(HEADER) == (
        b'{"edgerec_stream": 1, "sample_rate": 48000, "channels": 2, "dtype": "s16le", '
        b'"track": "user", "device": "alsa:Mic,1", "clock": "monotonic_raw", "utc_ns": 17, '
        b'"boot_id": "boot"}\n'
    )


@pytest.mark.parametrize("name", ["\ud800", "line\nbreak", "\x1b[2J", "x" * 257])
@pytest.mark.parametrize("field", ["device", "boot_id"])
def test_a_name_that_no_log_or_sidecar_could_take_is_refused(field, name):
    header = dataclasses.replace(
        StreamHeader(48_000, 1, "user", "mic", "monotonic_raw"), **{field: name}
    )
    with pytest.raises(WireError, match=field):
        list(Decoder().feed(encode_stream_header(header)))


def test_a_date_and_its_error_come_through_and_a_header_says_that_there_are_some():
    header = dataclasses.replace(HEADER, dated=True)
    block = dataclasses.replace(BLOCK, adc_error_us=1000)
    sent = encode_stream_header(header) + encode_block(block)
    assert list(Decoder().feed(sent)) == [header, block]
