"""Reads plain values, as JSON and YAML give them, into dataclasses, by the annotations alone.

The one schema language of edgerec: the configuration, sidecars, journals, files of `.state`, the
header lines of block streams and the arguments of commands are all dataclasses. A field is a bool,
int, float, str, Path, Literal, IntEnum (as a mapping's name), dataclass, or a tuple or Mapping of
these, perhaps with a `Constraint`, perhaps with None. All that is wrong is reported at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any, Final, TypeVar

from edgerec.validation.shapes import Shape, shape_of, shapes_of

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
