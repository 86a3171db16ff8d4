"""Reads plain values, as JSON and YAML give them, into dataclasses, by the annotations alone.

The one schema language of edgerec: the configuration, sidecars, journals, files of `.state`, the
header lines of block streams and the arguments of commands are all dataclasses. A field is a bool,
int, float, str, Path, Literal, IntEnum (as a mapping's name), dataclass, or a tuple or Mapping of
these, perhaps with a `Constraint`, perhaps with None. All that is wrong is reported at once.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from edgerec.validation.constraints import Constraint


@dataclass(frozen=True, slots=True)
class Shape:
    """The values that an annotation takes."""

    expected: str
    accepts: Callable[[object], bool]
    convert: Callable[[Any], object]
    constraint: Constraint | None = None
    nullable: bool = False
    type: Any = None
    """The annotation without its constraint and None."""
    fields: bool = False
    """Whether `type` is a dataclass."""
    names: Shape | None = None
    """Shape of the names in a mapping."""
    each: Shape | None = None
    """Shape of each value in a list or mapping."""


@cache
def shape_of(hint: Any) -> Shape:
    """Return the values that an annotation takes."""
    if isinstance(hint, NewType):
        return shape_of(hint.__supertype__)
    if hint in _LEAVES:
        return replace(_LEAVES[hint], type=hint)
    if dataclasses.is_dataclass(hint):
        return Shape("an object", _is(dict), _same, type=hint, fields=True)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _numbers_of(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (one,) = (part for part in arguments if part is not types.NoneType)
        shape = shape_of(one)
        return replace(shape, expected=f"{shape.expected}, or null", nullable=True)
    if origin is Annotated:
        shape, constraint = shape_of(arguments[0]), arguments[1]
        expected = f"{shape.expected} {constraint.expected}"
        return replace(shape, expected=expected, constraint=constraint)
    if origin is Literal:
        return _choice(arguments)
    if origin is tuple:
        return Shape("a list", _is(list), _same, type=hint, each=shape_of(arguments[0]))
    assert origin is Mapping, f"no values are read for the annotation {hint}"
    names, each = map(shape_of, arguments)
    return Shape("an object", _is(dict), _same, type=hint, names=names, each=each)


@cache
def shapes_of(kind: Any) -> Mapping[str, tuple[Shape, bool]]:
    """Return the shape of each field of a dataclass, and whether it must be given."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        one.name: (
            shape_of(hints[one.name]),
            one.default is MISSING and one.default_factory is MISSING,
        )
        for one in dataclasses.fields(kind)
    }


def _is(*kinds: type) -> Callable[[object], bool]:
    """Return a check of a value's type; True is a bool, and not a number."""
    return lambda value: type(value) in kinds


def _all(valid: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(valid, value))


def _same(value: object) -> object:
    return value


_IS_TEXT: Final = _is(str)
_IS_WHOLE: Final = _is(int)
_LEAVES: Final[Mapping[Any, Shape]] = {
    bool: Shape("true or false", _is(bool), bool),
    int: Shape("a whole number", _IS_WHOLE, _same),
    # Not converted before its range is known to be right: 10**400 does not fit into a float.
    float: Shape("a number", _is(int, float), _same),
    str: Shape("a text", _IS_TEXT, _same),
    Path: Shape("a path", _IS_TEXT, Path),
    tuple[str, ...]: Shape("a list", _all(_IS_TEXT), tuple),
    int | tuple[int, ...]: Shape(
        "a whole number, or a list of some,",
        lambda value: _IS_WHOLE(value) or _all(_IS_WHOLE)(value),
        lambda value: tuple(value) if isinstance(value, list) else value,
    ),
    Mapping[str, str]: Shape(
        "a mapping",
        lambda value: isinstance(value, dict) and all(map(_IS_TEXT, (*value, *value.values()))),
        dict,
    ),
}


def _choice(choices: tuple[str | int, ...]) -> Shape:
    *others, last = map(str, choices)
    return Shape(
        f"{', '.join(others)} or {last}" if others else last,
        # By type, too: True == 1, but is not a number of channels.
        lambda value: any(type(value) is type(each) and value == each for each in choices),
        _same,
    )


def _numbers_of(kind: type[IntEnum]) -> Shape:
    """Return the shape of an enumeration in a mapping's names, where it is its number as a text."""
    members = {str(one.value): one for one in kind}
    return Shape(f"the number of a {kind.__name__}", lambda v: v in members, members.get)


_T = TypeVar("_T")
_Path = tuple[str | int, ...]
"""The names of fields and numbers in lists that lead to a value."""
_SHOWN_CHARACTERS: Final = 60  # of a name or value, in a message


@dataclass(frozen=True, slots=True)
class Wrong:
    """One value that is not what its annotation says, or a name that no field has."""

    path: str
    given: object
    """The value, or the unknown name; MISSING: there is none."""
    shape: Shape | None
    """None: the name is unknown."""
    known: tuple[str, ...] = ()
    """Names that are known where this one is not."""

    def __str__(self) -> str:
        """Return it as a sentence for people."""
        if self.shape is None:
            return f"{self.path} is unknown, there are: {', '.join(self.known)}"
        told = "missing" if self.given is MISSING else in_short(self.given)
        return f"{self.path or 'it'} is {told}, expected {self.shape.expected}"


class InvalidError(ValueError):
    """Values that are not what the annotations say.

    Attributes
    ----------
    wrong
        Everything that is wrong, at least one thing.
    """

    def __init__(self, wrong: Iterable[Wrong]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("; ".join(map(str, self.wrong)))


def from_plain(kind: type[_T], given: object, *, strict: bool = False) -> _T:
    """Return an instance of a dataclass from an object, such as `dataclasses.asdict` gives.

    A missing field has its default.

    Parameters
    ----------
    strict
        Whether a name that no field has is an error. False: it is ignored, so that what a newer
        version wrote is read as far as it is understood.

    Raises
    ------
    InvalidError
        A field is missing, or of another type, or outside its constraint.
    ValueError
        The class refuses its fields.
    """
    reader = _Reader(strict=strict)
    hint: Any = kind
    instance: _T = reader.value(shape_of(hint), given, MISSING, ())
    if reader.wrong:
        raise InvalidError(reader.wrong)
    return instance


def put_over(default: _T, given: object) -> tuple[_T, list[Wrong]]:
    """Put an object's values over those of a dataclass's instance, at any depth.

    Null in place of a dataclass, list or mapping leaves the default.

    Returns
    -------
    instance, wrong
        Where a value is wrong, the instance has the default in its place.
    """
    reader = _Reader(strict=True)
    hint: Any = type(default)
    return reader.value(shape_of(hint), given, default, ()), reader.wrong


def shown(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """Return a text from outside as it goes into a message: short, and printable."""
    if not text.isprintable():
        text = json.dumps(text)
    return text if len(text) <= characters else f"{text[:characters]}..."


def in_short(value: object) -> str:
    """Return a value from outside as it goes into a message."""
    return f"{value!r:.80}"


class _Reader:
    """Walks plain values beside their shapes, and collects what is wrong on the way."""

    def __init__(self, *, strict: bool) -> None:
        self.wrong: list[Wrong] = []
        self._strict = strict

    def value(self, shape: Shape, given: Any, default: Any, path: _Path) -> Any:
        """Return what a value means; the default, or MISSING, where it is wrong."""
        if given is None and shape.nullable:
            return None
        blank = given is None and default is not MISSING
        if blank and (shape.fields or isinstance(default, dict | tuple)):
            return default
        if not shape.accepts(given):
            self._note(path, given, shape)
            return default
        if shape.fields:
            return self._object(shape.type, given, default, path)
        before = len(self.wrong)
        value = shape.convert(given) if shape.each is None else self._each(shape, given, path)
        if len(self.wrong) > before:
            return default
        if shape.constraint is None or shape.constraint.allows(value):
            return value
        self._note(path, given, shape)
        return default

    def _each(self, shape: Shape, given: Any, path: _Path) -> object:
        each, names = shape.each, shape.names
        assert each is not None
        if names is None:
            return tuple(
                self.value(each, one, MISSING, (*path, number)) for number, one in enumerate(given)
            )
        return {
            self.value(names, name, MISSING, at): self.value(each, one, MISSING, at)
            for at, name, one in (((*path, name), name, one) for name, one in given.items())
        }

    def _object(self, kind: Any, given: Mapping[str, Any], default: Any, path: _Path) -> object:
        shapes = shapes_of(kind)
        if self._strict:
            for name in given:
                if name not in shapes:
                    self._note((*path, name), name, None, tuple(shapes))
        before = len(self.wrong)
        values = {}
        for name, (shape, required) in shapes.items():
            if name in given:
                own = MISSING if default is MISSING else getattr(default, name)
                values[name] = self.value(shape, given[name], own, (*path, name))
            elif required and default is MISSING:
                self._note((*path, name), MISSING, shape)
        if default is not MISSING:
            return replace(default, **values)
        return kind(**values) if len(self.wrong) == before else MISSING

    def _note(
        self, path: _Path, given: object, shape: Shape | None, known: tuple[str, ...] = ()
    ) -> None:
        self.wrong.append(Wrong(_written(path), given, shape, known))


def _written(path: _Path) -> str:
    """Return a path as it is shown: `tracks.user.gaps[3]`."""
    parts = (f"[{one}]" if isinstance(one, int) else f".{shown(one)}" for one in path)
    return "".join(parts).removeprefix(".")
