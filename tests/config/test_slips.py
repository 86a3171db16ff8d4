"""Slips of typing: whatever YAML makes of them, no setting gets a value that nobody sees there."""

import math
import re

import pytest

from edgerec.config import Config, ConfigError
from edgerec.config.document import read_document
from edgerec.config.load import build, leaves
from tests import CHECKOUT

EXAMPLE = (CHECKOUT / "config" / "edgerec.yaml").read_text()
BARE = re.sub(r"^ *#.*\n|^\n", "", EXAMPLE, flags=re.MULTILINE)
SETTINGS = [path for path, _ in leaves(Config())]
REFUSED = ()

WRITTEN = {
    # what stands after the colon: what a person may read there
    "030": (30,),
    "08": (8, "08"),
    "-010": (-10,),
    "007.5": (7.5,),
    "0o17": (15, "0o17"),
    "0x1F": (31, "0x1F"),
    "0b11": (3, "0b11"),
    "1_000": (1000, "1_000"),
    "1_0.5": (10.5, "1_0.5"),
    "1:30": ("1:30",),
    "190:20:30.5": ("190:20:30.5",),
    "1e3": (1000, "1e3"),
    "1.5e+3": (1500, "1.5e+3"),
    ".5": (0.5, ".5"),
    "5.": (5, "5."),
    "+5": (5, "+5"),
    "1,5": (1.5, "1,5"),
    "1 000": (1000, "1 000"),
    "１６": (16, "１６"),  # noqa: RUF001
    "−5": (-5, "−5"),  # noqa: RUF001
    "30s": ("30s",),
    "30 s": ("30 s",),
    "30 # s": (30, "30"),
    "30 #s": (30, "30"),
    "2026-01-02": ("2026-01-02",),
    "2026-01-02 10:00:00": ("2026-01-02 10:00:00",),
    ".inf": (math.inf, ".inf"),
    "-.INF": (-math.inf, "-.INF"),
    ".nan": (".nan",),
    "yes": (True, "yes"),
    "No": (False, "No"),
    "on": (True, "on"),
    "OFF": (False, "OFF"),
    "y": (True, "y"),
    "N": (False, "N"),
    "True": (True, "True"),
    '"true"': (True, "true"),
    "'false'": (False, "false"),
    '"30"': (30, "30"),
    "~": ("~",),
    "null": (None, "null", "{}", "()"),
    "=": ("=",),
    "<<": ("<<",),
    "“/x”": ("/x",),
    "‘30’": (30, "30"),  # noqa: RUF001
    "«/x»": ("/x",),
    "/x: y.prom": ("/x: y.prom",),
    "/x:": ("/x:",),
    "/x,y.prom": ("/x,y.prom",),
    "/x, y.prom": ("/x, y.prom",),
    "/x #2.prom": ("/x #2.prom",),
    "/x # comment": ("/x",),
    "Mic: A": ("Mic: A",),
    "Mic,0": ("Mic,0",),
    "Mic #2": ("Mic #2",),
    "Mic # the left one": ("Mic",),
    "{path}": ("{path}",),
    "--file={path}": ("--file={path}",),
    "[x": ("[x",),
    "x]": ("x]",),
    "@x": ("@x",),
    "%x": ("%x",),
    "&x y": ("&x y",),
    "*x": ("*x",),
    "!x y": ("!x y",),
    "!!str 30": REFUSED,
    "|": REFUSED,
    "> x": REFUSED,
    "|\n        /x": REFUSED,
    "/x\n        y": REFUSED,
    '"/x\n        y"': REFUSED,
    "/x\u00a0y": REFUSED,
    "\u00a030": REFUSED,
    "30\u00a0": REFUSED,
    "3\u200b0": REFUSED,
    "/x\u00ad": REFUSED,
    "/x\ty": REFUSED,
    '"/x\ty"': REFUSED,
    "\ufeff30": REFUSED,
    "30\u2028": REFUSED,
    '"/x\\ny"': REFUSED,
    '"/x\\_y"': REFUSED,
    '"C:\\temp"': REFUSED,
    "'C:\\temp'": ("C:\\temp",),
    '"/x\\\\y"': ("/x\\y",),
    "-5": (-5, "-5"),
    "16000": (16000, "16000"),
}


def in_block(path, written):
    *sections, key = path.split(".")
    lines = [f"{'  ' * depth}{name}:\n" for depth, name in enumerate(sections)]
    return "".join([*lines, f"{'  ' * len(sections)}{key}: {written}\n"])


def in_braces(path, written):
    sections = path.split(".")
    return f"{{{': {'.join(sections)}: {written}{'}' * len(sections)}\n"


def read(file, text):
    """Return the settings a text gives, as far as it is accepted; None: it is refused."""
    file.write_bytes(text.encode())
    try:
        document = read_document(file)
    except ConfigError:
        return None
    config, problems = build(Config(), document.values)
    return None if document.problems or problems else dict(leaves(config))


def same(value, reading):
    value = str(value) if not isinstance(value, bool | int | float | None) else value
    return isinstance(value, bool) == isinstance(reading, bool) and value == reading


@pytest.mark.parametrize("form", [in_block, in_braces])
@pytest.mark.parametrize("written", WRITTEN)
def test_a_value_is_what_a_person_reads_or_refused(tmp_path, form, written):
    defaults = dict(leaves(Config()))
    for path in SETTINGS:
        got = read(tmp_path / "kiosk.yaml", form(path, written))
        if got is None:
            continue
        others = {one: value for one, value in got.items() if one != path}
        assert others == {one: value for one, value in defaults.items() if one != path}
        readings = WRITTEN[written]
        assert any(same(got[path], one) for one in readings), f"{path}: {got[path]!r}"


LISTS = (
    ("hooks: {on_chunk: [x, %s]}\n", "hooks.on_chunk"),
    ("hooks:\n  on_chunk:\n    - x\n    - %s\n", "hooks.on_chunk"),
    ("tracks: {user: {channels: [%s]}}\n", "tracks.user.channels"),
    ("tracks: {user: {env: {A: %s}}}\n", "tracks.user.env"),
)


@pytest.mark.parametrize("written", WRITTEN)
def test_a_part_of_a_list_or_mapping_is_what_a_person_reads_or_refused(tmp_path, written):
    for form, path in LISTS:
        got = read(tmp_path / "kiosk.yaml", form % written)
        if got is not None:
            check_part(got[path], form, written)


def check_part(value, form, written):
    parts = [*value.values()] if isinstance(value, dict) else [*value]
    if "[" in form and "," in written:  # there anybody reads two parts
        assert [str(part) for part in parts[-2:]] == re.split(", ?", written)
    else:
        assert any(same(parts[-1], one) for one in WRITTEN[written]), value


def mutated():
    """The example with each of its keys written with each kind of slip, by name."""
    lines = BARE.splitlines(keepends=True)
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        key = line.strip().split(":")[0]
        whole = line.strip()
        slips = {
            "twice": line + line,
            "tab": f"\t{whole}\n",
            "tab after": " " * indent + f"\t{whole}\n",
            "no-break": "\u00a0" * max(indent, 2) + f"{whole}\n",
            "in the key": line.replace(key, f"{key}\u200b", 1),
            "no space": line.replace(": ", ":", 1),
            "no colon": line.replace(":", "", 1),
            "space before": line.replace(":", "\u00a0:", 1),
            "curly": line.replace(key, f"“{key}”", 1),
            "one less": line[1:] if indent else f" {line}",
            "one more": f" {line}",
            "a level up": line[2:] if indent else line.upper(),
            "a level down": f"  {line}",
            "merge": " " * indent + "<<: {}\n" + line,
            "anchor": line.replace(": ", ": &a ", 1),
            "begins anew": f"---\n{line}",
            "ends before": f"...\n{line}",
            "no line break": line.rstrip("\n"),
            "old line break": line.rstrip("\n") + "\r",
            "next line": line.rstrip("\n") + "\u0085",
            "upper case": line.replace(key, key.upper(), 1),
        }
        for name, slip in slips.items():
            if slip != line:
                yield number, name, "".join([*lines[:number], slip, *lines[number + 1 :]])


def test_no_key_of_the_example_is_read_in_another_place_or_with_another_value(tmp_path):
    defaults = dict(leaves(Config()))
    assert read(tmp_path / "kiosk.yaml", BARE) == defaults
    kinds = set()
    for number, name, text in mutated():
        got = read(tmp_path / "kiosk.yaml", text)
        assert got in (None, defaults), f"{name}: {BARE.splitlines()[number]}"
        kinds |= {name} if got is None else set()
    assert len(kinds) == 21  # each of them is refused somewhere


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("retention:\n  max_age_days: 030", "line 2, column 3: retention.max_age_days: 030 is not"),
        ("retention:\n  max_age_days: 030", "YAML reads it as 24; expected a number from 0.01"),
        ("retention:\n  max_age_days: 030", "; write it in plain digits, such as 30"),
        ("recording:\n  chunk_seconds: 060", "write it in plain digits, such as 60"),
        ("recording: {chunk_seconds: 1:30}", "YAML reads it as 90"),
        ("retention: {max_bytes: 0x3B9ACA00}", "such as 1000000000"),
        ("retention: {max_bytes: 1_000_000_000}", "such as 1000000000"),
        (
            "recording: {align_to_clock: yes}",
            "yes is not allowed; expected true or false; write true",
        ),
        ('recording: {align_to_clock: "off"}', "write false, without quotes"),
        ('recording:\n  enable_turn_audio: "true"', "write true, without quotes"),
        ("kiosk_id: on", 'put it in quotes: "on"'),
        (
            "recording:\n\tchunk_seconds: 30",
            "line 2, column 1: a tab in the indentation; indent by",
        ),
        ("recording:\n\u00a0 \u00a0 chunk_seconds: 30", "line 2, column 1: "),
        ("recording:\n\u00a0 \u00a0 chunk_seconds: 30", "NO-BREAK SPACE (U+00A0) looks like"),
        ("recording:\n  chunk_seconds: 30\n\u00a0 late_seconds: 1", "line 3, column 1: "),
        (
            "tracks:\n  user: {device: USB PnP Sound Device: Audio (hw:1,0)}",
            "line 2, column 38: did not find expected ',' or '}'; a text with \": \" in it",
        ),
        (
            "tracks:\n  user:\n    device: USB PnP Sound Device: Audio (hw:1,0)",
            "line 3, column 33: mapping values are not allowed in this context; a text with",
        ),
        (
            "tracks:\n  user: {device: alsa:Mic,0}",
            "line 2, column 27: tracks.user.0: 0 has no value",
        ),
        ("tracks:\n  user: {device: alsa:Mic,0}", 'belongs to the text, write "alsa:Mic,0"'),
        ("tracks: {user: {device:x}}", "leave a space after the colon"),
        ("kiosk_id: a\n---\nkiosk_id: b", "line 2, column 1: a second document begins; keep one"),
        (
            "hooks:\n  on_chunk: [/usr/local/bin/notify, {path}]",
            "line 2, column 38: hooks.on_chunk.path: path has no value; give it one after a colon; "
            'a text in braces needs quotes: "{path}"',
        ),
        ("hooks: {on_chunk: [x, --file={path}]}", "a text with a { there: put the whole text in"),
        ("hooks: {on_chunk: [x, 30]}", "; put 30 in quotes"),
        ("tracks: {user: {env: {A: on}}}", "; put on in quotes"),
        (
            "tracks:\n  user:\n    device: “pulse:kiosk_mic”",
            "line 3, column 13: tracks.user.device: “pulse:kiosk_mic” is not in quotes: these are "
            'others than YAML\'s; use straight quotes: "pulse:kiosk_mic"',
        ),
        ("tracks:\n  user:\n    device: Mic #2", "Mic ends before #2, which is a comment; put the"),
        ("kiosk_id: @x", "a text with a @ there: put the whole text in straight quotes"),
        ("kiosk_id: !x y", "tag !x is not allowed; remove it; if it is a text, put it in quotes"),
        ("kiosk_id: a\u2028b", "LINE SEPARATOR (U+2028) ends a line for YAML only"),
        ("kiosk_id: a\rb", "a carriage return ends a line for YAML only"),
    ],
)
def test_a_slip_is_named_with_its_place_what_was_read_and_what_to_write(problems_of, text, line):
    assert any(line in problem for problem in problems_of(text))
