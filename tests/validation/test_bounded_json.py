"""Whatever stands where a JSON file should be is read in bounded time, or is one kind of error."""

import json
import os
import random
import socket
import stat
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.validation.bounded_json import (
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    MAX_VALUES,
    JsonError,
    parse_json,
    parse_object,
    read_bounded,
    read_json,
    read_object,
)

MAX_BYTES = 1 << 16


def nested(depth):
    return b"[" * depth + b"]" * depth


HOSTILE = {
    "nothing": b"",
    "zeros": b"\0" * 500,
    "not UTF-8": b'"\xff"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "cut short": b'{"a": ',
    "two documents": b"{} {}",
    "200 KB of brackets": b"[" * 200_000,
    "60 KB of brackets": b"[" * 60_000,
    "brackets that match": nested(30_000),
    "objects in objects": b'{"a":' * 10_000,
    "a level too deep": nested(MAX_DEPTH + 1),
    "Infinity": b"[Infinity]",
    "NaN": b"NaN",
    "out of range": b"1e999",
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "a long float": b"0." + b"1" * 400,
    "too many values": b"[" + b"0," * MAX_VALUES + b"0]",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_no_file_of_ours_says_is_one_kind_of_error(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(JsonError):
        read_json(path, lambda value: value, max_bytes=1 << 20)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


NO_FILES = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a socket": make_socket,
    "a link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a file": lambda path: path.symlink_to(__file__),
    "a sparse terabyte": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "a byte too many": lambda path: path.write_bytes(b" " * (MAX_BYTES + 1)),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_not_a_small_regular_file_is_not_read(tmp_path, make):
    make(tmp_path / "file.json")
    tracemalloc.start()
    try:
        with pytest.raises(JsonError) as caught:
            read_object(tmp_path / "file.json", max_bytes=MAX_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert not caught.value.missing


def test_a_file_that_is_missing_is_told_from_one_that_is_bad(tmp_path):
    with pytest.raises(JsonError) as caught:
        read_object(tmp_path / "file.json", max_bytes=MAX_BYTES)
    assert caught.value.missing


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "file.json").chmod(stat.S_IWUSR)
    with pytest.raises(JsonError, match="Permission denied"):
        read_object(tmp_path / "file.json", max_bytes=MAX_BYTES)


def test_a_file_of_just_the_largest_size_is_read(tmp_path):
    (tmp_path / "file.json").write_bytes(b" " * MAX_BYTES)
    assert len(read_bounded(tmp_path / "file.json", MAX_BYTES)) == MAX_BYTES


@pytest.mark.parametrize("error", [KeyError("a"), RecursionError(), MemoryError(), OverflowError()])
def test_whatever_the_building_raises_is_an_error_of_the_file(tmp_path, error):
    def build(value):
        raise error

    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(JsonError) as caught:
        read_json(tmp_path / "file.json", build, max_bytes=MAX_BYTES)
    assert str(caught.value)


@pytest.mark.parametrize("content", [b"[]", b"null", b"17", b'"text"'])
def test_what_is_not_an_object_is_an_error_where_one_is_expected(content):
    with pytest.raises(JsonError, match="not a JSON object"):
        parse_object(content)


def test_what_ours_say_is_read_as_it_is():
    said = {
        "text": "\ud800 ä \N{GRINNING FACE}",
        "numbers": [-(2**63), 2**63, 0.1, -1.7976931348623157e308, 5e-324],
        "rest": [None, True, False, {}],
    }
    assert all(len(repr(number)) <= MAX_NUMBER_CHARS for number in said["numbers"])
    assert parse_object(json.dumps(said).encode()) == said
    assert parse_json(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data):
    try:
        parse_json(data)
    except JsonError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_damage_to_a_document_raises_anything_else(seed):
    rng = random.Random(seed)
    text = bytearray(json.dumps({"a": [1, 2.5e3, {"b": None}], "c": "d\n", "e": True}).encode())
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(text))
        piece = rng.choice([b"", b"[", b'"', b"1e9", b"\\u", bytes([rng.randrange(256)])])
        text[place : place + rng.randint(0, 3)] = piece * rng.choice([1, 1, 1, 5000])
    try:
        parse_object(bytes(text))
    except JsonError as error:
        assert str(error)
