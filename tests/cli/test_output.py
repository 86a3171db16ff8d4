"""Text from elsewhere on its way to the terminal."""

import ast
import json
import logging
import os
from pathlib import Path

import pytest

import edgerec
from edgerec import cli
from edgerec.cli.logs import FORMAT, line_formatter
from edgerec.cli.output import escaped, note, print_json, say
from tests.rigs.made_recordings import quiet_span, record

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "a\nerror  b.wav: forged",
    "a\rb",
    "\x9b31m",  # CSI in one byte
    "\u202egnp.wav",  # turns the direction round
    "a\u2028b",
    "\u200b",
    os.fsdecode(b"caf\xe9"),  # latin-1
    "a\tb\x00c\x7f",
]
PRINTING = {"print", "sys.stdout.write", "sys.stderr.write", "sys.stdout.writelines"}
PLAIN = ["ready/kiosk=k1", "Mikrofon für Süd", "マイク", "a\\b 'c' \"d\""]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_printable_is_shown_as_an_escape(text, capsys):
    assert escaped(text).isprintable()
    assert escaped(text).isascii() or text.isprintable()
    say(text)
    note(text)
    told = capsys.readouterr()
    assert told.out == told.err == escaped(text) + "\n"


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_printable_is_shown_as_it_is(text):
    assert escaped(text) == text


@pytest.mark.parametrize("text", HOSTILE + PLAIN)
def test_programs_get_every_name_back_in_json_that_a_terminal_may_see(text, capsys):
    print_json({text: [text]})
    shown = capsys.readouterr().out
    assert all(one.isprintable() or one == "\n" for one in shown)
    assert json.loads(shown) == {text: [text]}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_record_is_one_line(text):
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "file=%s", (text,), None)
    assert line_formatter(FORMAT).format(record) == f"INFO x: file={escaped(text)}"
    record.exc_info = (ValueError, ValueError(text), None)
    lines = line_formatter(FORMAT).format(record).split("\n")
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", [name for name in HOSTILE if "\0" not in name])
@pytest.mark.parametrize("command", [["verify"], ["turns"], ["verify", "--json"]])
def test_no_name_in_an_archive_reaches_the_terminal_as_it_is(tmp_path, capsys, name, command):
    archive = tmp_path / name
    archive.mkdir()
    for one in record(archive, [quiet_span(0, 100)])[:1]:
        one.sidecar.chmod(0o640)
        one.sidecar.write_text(json.dumps({"schema": name}))
    (archive / f"{name}.wav").touch()
    cli.main([*command, str(archive)])
    told = "".join(capsys.readouterr())
    assert told
    assert all(one.isprintable() or one == "\n" for one in told)
    assert "\nerror  b.wav" not in told


def test_a_wrong_command_line_is_told_without_control_characters(capsys):
    with pytest.raises(SystemExit):
        cli.main(["verify", "a", "\x1b[2J"])
    assert "\x1b" not in capsys.readouterr().err


def test_nothing_else_prints():
    root = Path(edgerec.__file__).parent
    prints = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTING
    }
    # What a capture child or a hook's keeper prints is read by its parent, who logs it.
    assert prints == {"cli/output.py", "capture/portaudio.py", "service/hook_keeper.py"}
