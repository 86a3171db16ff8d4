"""Converts JSON values back to the frozen dataclasses they came from, checking every type.

Unknown fields are ignored, and a missing one has its default: what a newer or an older version
wrote is read as far as it is understood. A value whose type differs from its annotation is an
error here, never a surprise later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, NewType, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_SCALARS: Final[Mapping[object, tuple[type, ...]]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
}


def from_json(kind: type[_T], value: object) -> _T:
    """Return an instance of a dataclass from the JSON object that `dataclasses.asdict` gave of it.

    Raises
    ------
    ValueError
        A field is missing, or of another type, or the class refuses it.
    """
    built: _T = _build(kind, value, kind.__name__)
    return built


def _build(hint: Any, value: Any, name: str) -> Any:
    hint = hint.__supertype__ if isinstance(hint, NewType) else hint
    if is_dataclass(hint):
        return _build_object(hint, value, name)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:  # X | None is the only one there is
        (inner,) = (one for one in arguments if one is not NoneType)
        return None if value is None else _build(inner, value, name)
    if origin is Mapping and isinstance(value, dict):
        key_hint, value_hint = arguments
        return {
            _build_key(key_hint, key, name): _build(value_hint, one, f"{name}.{key}")
            for key, one in value.items()
        }
    known = isinstance(value, str) and value in arguments if origin is Literal else None
    fits = isinstance(value, _SCALARS.get(hint, ())) and (
        hint is bool or not isinstance(value, bool)
    )
    if known or (known is None and fits):
        return value
    raise ValueError(f"{name} is {value!r:.40}")


def _build_key(hint: Any, key: str, name: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return hint(int(key))
    return _build(hint, key, f"the name in {name}")


def _build_object(kind: Any, value: Any, name: str) -> Any:
    value = value if isinstance(value, dict) else {}
    hints = _hints(kind)
    given = {}
    for one in fields(kind):
        if one.name in value:
            given[one.name] = _build(hints[one.name], value[one.name], f"{name}.{one.name}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"{name} is without {one.name}")
    return kind(**given)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
