"""Text from elsewhere: no byte in it is refused, and none divides it that does not."""

import ast
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgerec
from edgerec import kernel
from edgerec.capture.devices.alsa_cards import parse_alsa_cards
from edgerec.doctor.loopback import alsa_machine

ODD = [
    b"caf\xe9",  # latin-1
    b"\xff\xfe",
    "Süd マイク".encode(),
    b"nbsp\xc2\xa0nel\xc2\x85ls\xe2\x80\xa8",  # blanks and line ends to Unicode
    b"a\x0bb\x0cc\x1cd\x1e",  # and these, to Python
    b"carriage\rreturn",
    b"\x1b[2J",
]


@pytest.mark.parametrize("name", ODD)
def test_a_row_has_its_fields_whatever_is_in_them(name, tmp_path):
    escaped = name.replace(b" ", b"\\040")
    table = b"# comment\n\n/dev/x\t" + escaped + b" ext4  rw 0 0\n/dev/y /b\n"
    path = tmp_path / "mounts"
    path.write_bytes(table)
    first, *others = [row for row in kernel.rows(kernel.read_text(path)) if len(row) > 1]
    assert os.fsencode(first[1]) == name
    assert first[2:] == ["ext4", "rw", "0", "0"]
    assert others == [["/dev/y", "/b"]]


@given(st.binary(max_size=200))
def test_every_text_is_read_and_given_back(data):
    text = kernel.text_of(data)
    assert os.fsencode(text) == data
    assert "\n".join(kernel.lines(text)) in (text, text.removesuffix("\n"))
    list(kernel.rows(text))


@pytest.mark.parametrize("name", ODD)
def test_a_sound_card_may_be_called_anything(name):
    text = kernel.text_of(b" 1 [Mic            ]: USB-Audio - " + name + b"\n      " + name + b"\n")
    assert parse_alsa_cards(text)[1].driver == "USB-Audio"
    pcm = kernel.text_of(b"01-00: " + name + b" : " + name + b" : playback 1 : capture 1\n")
    assert alsa_machine(text, pcm).speaker == "Mic,0"


def test_nothing_else_reads_such_text():
    root = Path(edgerec.__file__).parent
    others = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.name != "kernel.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (ast.unparse(node.func).endswith(".read_text") and "kernel." not in ast.unparse(node))
            or any(one.arg in ("text", "universal_newlines") for one in node.keywords)
        )
    ]
    assert others == []
