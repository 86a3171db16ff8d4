"""What plain values does a YAML file hold, if it can be read at all?

Stricter than YAML: no key twice (YAML parsers keep the last, and the operator wonders), no
aliases and no deep nesting (a few lines of either can exhaust memory, or the C parser's stack).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import yaml

from edgerec.config.problems import ConfigError, Problem

MAX_BYTES: Final = 1024 * 1024  # the documented example has 10 KB
MAX_DEPTH: Final = 20  # the schema needs 4; PyYAML's recursion ends at some hundreds

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one where PyYAML was built with it


class _Mark(Protocol):
    """What the two parsers of PyYAML call a place; their classes have no common base."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def read_document(file: Path) -> tuple[object, list[Problem]]:
    """Read a file's plain values: mappings, lists, texts, numbers, booleans, dates and nulls.

    Returns
    -------
    document, problems
        None for an empty file; and the keys that are given twice, of which the last one counts.

    Raises
    ------
    ConfigError
        It can't be read, or is not YAML, so that nothing more can be said of it.
    """
    text = _read_text(file)
    try:
        _check_shape(file, text)
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, []
        return loader.construct_document(root), list(_duplicates(root, ""))
    except yaml.MarkedYAMLError as error:
        raise ConfigError(file, [_syntax_problem(error)]) from error
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # What PyYAML's constructors raise at a date with a month 13, a base-60 number of thousands
        # of parts, or a tag on a text that is no such thing.
        problem = f"a value can't be read: {error}"
        raise ConfigError(file, [Problem("", problem, "put texts in quotes")]) from error


def _read_text(file: Path) -> str:
    try:
        # A pipe that nobody writes into is opened and found empty, not waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            data = stream.read(MAX_BYTES + 1) or b""
        text = data.decode("utf-8")
    except OSError as error:
        problem = Problem(
            "",
            f"can't be read: {error.strerror}",
            "see that the file is there and this user may read it, or name another one",
        )
        raise ConfigError(file, [problem]) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            file, [Problem(f"line {line}", "not UTF-8 text", "save the file as UTF-8")]
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(
            file, [Problem("", f"longer than {MAX_BYTES} bytes", "this is no configuration")]
        )
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        problem = Problem(f"line {line}", f"control character {unprintable.group()!r}", "remove it")
        raise ConfigError(file, [problem])
    return text


def _check_shape(file: Path, text: str) -> None:
    """Look at the events alone, which takes no stack, before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        where = _place(event.start_mark)
        if depth > MAX_DEPTH:
            problem = f"nested more than {MAX_DEPTH} deep"
            raise ConfigError(file, [Problem(where, problem, "look for a bracket left open")])
        if isinstance(event, yaml.AliasEvent):
            problem = f"alias *{event.anchor} is not allowed"
            raise ConfigError(file, [Problem(where, problem, "write the value out")])


def _duplicates(node: yaml.Node, path: str) -> Iterator[Problem]:
    if not isinstance(node, yaml.MappingNode):
        return  # what lists hold are texts: the schema has no list of sections
    first_lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = f"{path}.{key.value}".removeprefix(".")
        if name in first_lines:
            problem = f"given twice, in lines {first_lines[name]} and {line}"
            yield Problem(name, problem, "remove one")
        first_lines.setdefault(name, line)
        yield from _duplicates(value, name)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    return Problem(
        _place(error.problem_mark or error.context_mark),
        error.problem or error.context or "not YAML",
        "check the indentation and the punctuation there and in the line before",
    )


def _place(mark: _Mark | None) -> str:
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
