"""Reads a YAML file as plain values: mappings, lists, texts, numbers, booleans and nulls.

Stricter than YAML, so that a file means what a person reads in it: one document, no key twice, no
anchors, aliases and tags, no text over several lines, no word that YAML 1.1 and a person read
differently, no slip that is hard to see (see `slips`). Bounded in size and depth. A file that
may have been cut short is refused as far as that can be told: it must not be empty, nor end within
a line or after a key without a value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from edgerec.config import slips
from edgerec.config.problems import ConfigError, Place, Problem
from edgerec.config.slips import YamlMark, end_of, place_of, read_plain, start_of
from edgerec.validation.typed import shown

MAX_BYTES: Final = 64 * 1024  # the documented example has 10 KB
MAX_DEPTH: Final = 20  # the schema needs 4; deeper is a bracket left open

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one where PyYAML was built with it
_NOTHING: Final = (
    "nothing is set in it",
    "was it cut short? config/edgerec.yaml shows a whole one",
)
_WRONG: Final = object()  # stands for a value that is reported


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file."""

    values: object
    places: dict[str, Place]
    """Place of every key, by its dotted path."""
    problems: tuple[Problem, ...]
    """Problems with what could not be read; `values` has nothing in its place."""


def read_document(file: Path) -> Document:
    """Read a file's plain values.

    Raises
    ------
    ConfigError
        It can't be read, is not YAML, or is cut short, so that nothing more can be said about it.
    """
    text = _read_text(file)
    try:
        return _Reader(file, text).document()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(file, [slips.syntax_problem(text, error)]) from error
    except yaml.YAMLError as error:
        problem = Problem("", f"not YAML: {error}", "compare it with config/edgerec.yaml")
        raise ConfigError(file, [problem]) from error


def _read_text(file: Path) -> str:
    try:
        # A pipe that nobody writes into is opened and found empty, not waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            data = stream.read(MAX_BYTES + 1) or b""
    except OSError as error:
        told = f"can't be read: {error.strerror}"
        hint = "see that the file is there and this user may read it, or name another one"
        raise ConfigError(file, [Problem("", told, hint)]) from error
    if len(data) > MAX_BYTES:
        told, hint = f"longer than {MAX_BYTES} bytes", "this is not a configuration"
        raise ConfigError(file, [Problem("", told, hint)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem("", "not UTF-8 text", "save the file as UTF-8", _end(data[: error.start]))
        raise ConfigError(file, [problem]) from error
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable:
        told = f"control character {unprintable.group()!r}"
        hint = "remove it; zeros are what a power cut leaves of a file: write it again"
        place = _end(text[: unprintable.start()].encode())
        raise ConfigError(file, [Problem("", told, hint, place)])
    breaks = list(slips.bad_line_breaks(text))
    if breaks:
        raise ConfigError(file, breaks)
    return text


def _end(before: bytes) -> Place:
    """Return the place after some bytes of a file."""
    line = before.rpartition(b"\n")[2].decode("utf-8", "replace")
    return Place(before.count(b"\n") + 1, len(line) + 1)


class _Reader:
    """Goes through the events of one file, and collects problems on the way."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_Loader)
        self._places: dict[str, Place] = {}
        self._problems: list[Problem] = []
        self._ends_blank = False

    def document(self) -> Document:
        next(self._events)  # the stream's begin
        begin = next(self._events)
        if isinstance(begin, yaml.StreamEndEvent):
            raise self._refused(*_NOTHING)
        root = next(self._events)
        values = self._node(root, "", 0)
        ends = next(self._events)
        follows = next(self._events)
        if not isinstance(follows, yaml.StreamEndEvent):
            hint = "keep one of the two, without the --- or ... between them"
            raise self._refused("a second document begins", hint, start_of(follows))
        closed = getattr(ends, "explicit", False) or getattr(root, "flow_style", False)
        self._check_whole(values, closed=closed)
        return Document(None if values is _WRONG else values, self._places, tuple(self._problems))

    def _check_whole(self, values: object, *, closed: bool) -> None:
        """Refuse a file that looks cut short; one in braces, or ended by `...`, can't be."""
        if values is None:
            raise self._refused(*_NOTHING)
        if closed:
            return
        told = hint = ""
        if not self._text.endswith("\n"):
            told, hint = "within a line", "press Enter at its end"
        elif self._ends_blank:
            told, hint = "after a key without a value", "give the key a value, or remove it"
        if told:
            told = f"the file ends {told}, as if it was cut short"
            place = _end(self._text.rstrip("\n").encode())
            problem = Problem("", told, f"see that nothing is missing, then {hint}", place)
            raise ConfigError(self._file, [problem])

    def _node(self, event: yaml.Event, path: str, depth: int) -> object:
        if isinstance(event, yaml.AliasEvent):
            hint = f'write the value out; if it is a text: "*{event.anchor}"'
            raise self._refused(f"alias *{event.anchor} is not allowed", hint, start_of(event))
        assert isinstance(event, yaml.NodeEvent)
        self._check_bare(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if depth == MAX_DEPTH:
            told = f"nested more than {MAX_DEPTH} deep"
            raise self._refused(told, "look for a bracket left open", start_of(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth + 1)
        return self._list(path, depth + 1)

    def _check_bare(self, event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        told = f"anchor &{event.anchor}" if event.anchor else f"tag {tag}" if tag else None
        if told is not None:
            hint = "remove it; if it is a text, put it in quotes"
            raise self._refused(f"{shown(told)} is not allowed", hint, start_of(event))

    def _scalar(self, event: yaml.ScalarEvent, path: str) -> object:
        plain = event.style in (None, "")
        self._ends_blank = plain and event.value == ""
        slip = slips.slip_in(self._text, event)
        if slip is not None:
            problem, hint, place = slip
            self._problems.append(Problem(path, problem, hint, place))
            return _WRONG
        return read_plain(event.value) if plain else event.value

    def _list(self, path: str, depth: int) -> object:
        values = []
        before = len(self._problems)
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, path, depth))
        self._note_end(event)
        return values if len(self._problems) == before else _WRONG

    def _mapping(self, path: str, depth: int) -> object:
        values: dict[str, object] = {}
        first: dict[str, Place] = {}
        before: YamlMark | None = None
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                hint = "put a text that begins with a bracket or a * in quotes"
                raise self._refused("a key must be a word", hint, start_of(key))
            self._check_bare(key)
            name = f"{path}.{shown(key.value)}".removeprefix(".")
            place = place_of(start_of(key))
            readable = self._scalar(key, name) is not _WRONG
            follows = next(self._events)
            if key.value in first:
                told = f"given twice, first in line {first[key.value].line}"
                self._problems.append(Problem(name, told, "remove one", place))
            elif readable and end_of(follows).index == end_of(key).index:
                told, hint = slips.key_without_value(self._text, key, before)
                self._problems.append(Problem(name, told, hint, place))
                readable = False
            first.setdefault(key.value, place)
            self._places.setdefault(name, place)
            before = start_of(follows)
            value = self._node(follows, name, depth)
            if readable and value is not _WRONG:
                values[key.value] = value
        self._note_end(key)
        return values

    def _note_end(self, event: yaml.Event) -> None:
        if end_of(event).index > start_of(event).index:  # a bracket, which can't be missing
            self._ends_blank = False

    def _refused(self, problem: str, hint: str, mark: YamlMark | None = None) -> ConfigError:
        place = None if mark is None else place_of(mark)
        return ConfigError(self._file, [Problem("", problem, hint, place)])
