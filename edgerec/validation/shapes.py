"""The values that an annotation takes, for `typed`: what is accepted, and how a message says so."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
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
