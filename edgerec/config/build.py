"""Converts plain values to a section of the schema, reporting everything wrong with them at once.

Driven by the types alone: a section is a dataclass; a leaf is a bool, int, float, str, Path,
Literal, tuple of str or Mapping of str, perhaps with a `Constraint`, perhaps with None.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from edgerec.config.constraints import Constraint
from edgerec.config.plain import Misreadable
from edgerec.config.problems import MAX_SHOWN, Problem, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Section = TypeVar("Section", bound=DataclassInstance)


def build(default: Section, document: object) -> tuple[Section, list[Problem]]:
    """Put what a document gives over the defaults.

    Parameters
    ----------
    default
        The whole configuration with its built-in values.
    document
        Plain values as `read_document` gives them; None: nothing is set.

    Returns
    -------
    section, problems
        Where a value is wrong, the section has the default in its place.
    """
    builder = _Builder(tuple(path for path, _ in leaves(default)))
    return builder.section(default, document, ""), builder.problems


def leaves(section: DataclassInstance, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting below a section, by its dotted path, with the value it has there."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        name = _join(path, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from leaves(value, name)
        else:
            yield name, value


class _Builder:
    """Walks a document beside the schema, and collects problems on the way."""

    def __init__(self, known_paths: tuple[str, ...]) -> None:
        self.problems: list[Problem] = []
        self._known_paths = known_paths

    def section(self, default: Section, given: object, path: str) -> Section:
        """Return the section with what is given in it; `recording:` with nothing below is fine."""
        if given is None:
            return default
        hints = get_type_hints(type(default), include_extras=True)
        if not isinstance(given, dict):
            keys = ", ".join(hints)
            self._report(path, f"{_show(given)} is not a section", f"give it keys of: {keys}")
            return default
        for key in given:
            if key not in hints:
                self._report(_join(path, key), "unknown", self._suggestion(str(key), hints))
        changes = {
            name: self._value(hint, given[name], getattr(default, name), _join(path, name))
            for name, hint in hints.items()
            if name in given
        }
        return dataclasses.replace(default, **changes)

    def _value(self, hint: Any, given: object, default: Any, path: str) -> object:
        if dataclasses.is_dataclass(default):
            return self.section(default, given, path)  # type: ignore[type-var]
        leaf = _leaf(hint)
        if given is None and (leaf.nullable or isinstance(default, dict | tuple)):
            return None if leaf.nullable else default
        if leaf.accepts(given):
            value = leaf.convert(given)
            if leaf.constraint is None or leaf.constraint.allows(value):
                return value
        read = given.in_yaml if isinstance(given, Misreadable) else ""
        hint = f"expected {leaf.expected}{_advice(leaf, given)}"
        self._report(path, f"{_show(given)} is not allowed{read}", hint)
        return default

    def _suggestion(self, key: str, hints: Mapping[str, object]) -> str:
        if len(self.problems) >= MAX_SHOWN:
            return "see config/edgerec.yaml"  # it will not be shown, and finding one takes long
        close = difflib.get_close_matches(key, hints, n=1)
        if close:
            return f"did you mean {close[0]}?"
        # A wrong indentation puts a good key in a bad place.
        elsewhere = [path for path in self._known_paths if path.endswith(f".{key}")]
        if elsewhere:
            return f"did you mean {' or '.join(elsewhere)}?"
        return f"the keys here are: {', '.join(hints)}"

    def _report(self, path: str, problem: str, hint: str) -> None:
        self.problems.append(Problem(path, problem, hint))


_QUOTES: Final = "; put it in quotes"
_WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


@dataclass(frozen=True, slots=True)
class _Leaf:
    """What a field that is not a section takes."""

    expected: str
    accepts: Callable[[object], bool]
    convert: Callable[[Any], object]
    constraint: Constraint | None = None
    nullable: bool = False


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number_or_numbers(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, list) and all(map(_is_whole, value)))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text_mapping(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, (*value.keys(), *value.values())))


_LEAVES: Final[Mapping[Any, _Leaf]] = {
    bool: _Leaf("true or false", _is_bool, bool),
    int: _Leaf("a whole number", _is_whole, int),
    # Not converted before its range is known to be right: 10**400 does not fit into a float.
    float: _Leaf("a number", _is_number, lambda value: value),
    str: _Leaf("a text", _is_text, str),
    Path: _Leaf("a path", _is_text, Path),
    tuple[str, ...]: _Leaf("a list", _is_texts, tuple),
    int | tuple[int, ...]: _Leaf(
        "a whole number, or a list of some,",
        _is_number_or_numbers,
        lambda value: tuple(value) if isinstance(value, list) else value,
    ),
    Mapping[str, str]: _Leaf("a mapping", _is_text_mapping, dict),
}


def _leaf(hint: Any) -> _Leaf:
    nullable = get_origin(hint) in (Union, types.UnionType)
    if nullable:
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    constraint = None
    if get_origin(hint) is Annotated:
        hint, constraint = get_args(hint)
    leaf = _choice(get_args(hint)) if get_origin(hint) is Literal else _LEAVES[hint]
    expected = f"{leaf.expected} {constraint.expected}" if constraint else leaf.expected
    return dataclasses.replace(
        leaf,
        expected=f"{expected}, or null" if nullable else expected,
        constraint=constraint,
        nullable=nullable,
    )


def _choice(choices: tuple[str | int, ...]) -> _Leaf:
    *others, last = map(str, choices)
    return _Leaf(
        f"{', '.join(others)} or {last}" if others else last,
        # By type, too: True == 1, but is not a number of channels.
        lambda value: any(type(value) is type(each) and value == each for each in choices),
        lambda value: value,
    )


def _advice(leaf: _Leaf, given: object) -> str:
    """Explain YAML's guesses, and say what to write in place of a value that shows one of them."""
    if leaf.accepts is _is_text and not isinstance(given, str | list | dict | None):
        return f'; put it in quotes: "{given}"' if isinstance(given, Misreadable) else _QUOTES
    if leaf.accepts in (_is_texts, _is_text_mapping):
        return _advice_on_texts(given)
    if leaf.accepts is _is_bool:
        wanted = given.boolean if isinstance(given, Misreadable) else _WORDS.get(str(given).lower())
        return "" if wanted is None else f"; write {str(wanted).lower()}, without quotes"
    if leaf.accepts not in (_is_whole, _is_number, _is_number_or_numbers):
        return ""
    if isinstance(given, Misreadable) and given.decimal is not None:
        return f"; write it in plain digits, such as {given.decimal}"
    if isinstance(given, str) and _reads_as_number(given):
        return "; write it in plain digits, without quotes"
    return ""


def _advice_on_texts(given: object) -> str:
    parts = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    unquoted = (part for part in parts if not isinstance(part, str | list | dict | None))
    return next((f"; put {_show(part)} in quotes" for part in unquoted), "")


def _reads_as_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _show(value: object) -> str:
    if isinstance(value, Misreadable):
        return shown(value.text)
    try:
        return shown(json.dumps(value, ensure_ascii=False, default=str))
    except ValueError:  # a number of thousands of digits
        return "a number that is far too long"


def _join(path: str, key: object) -> str:
    return f"{path}.{shown(str(key))}".removeprefix(".")
