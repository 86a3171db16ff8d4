"""Converts plain values to the settings of the schema, reporting everything wrong at once.

The types and limits are those of the schema's annotations; see `edgerec.validation`. Here, what is
wrong becomes problems for an operator: what was probably meant, and how to write it in YAML.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from edgerec.config.plain import Misreadable
from edgerec.config.problems import MAX_SHOWN, Problem
from edgerec.validation.shapes import Shape
from edgerec.validation.typed import Wrong, put_over, shown

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
    section, wrong = put_over(default, document)
    known_paths = [path for path, _ in leaves(default)]
    return section, [
        _problem(one, known_paths, named=number < MAX_SHOWN) for number, one in enumerate(wrong)
    ]


def leaves(section: DataclassInstance, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting below a section, by its dotted path, with the value it has there."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        name = f"{path}.{field.name}".removeprefix(".")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from leaves(value, name)
        else:
            yield name, value


def _problem(wrong: Wrong, known_paths: Sequence[str], *, named: bool) -> Problem:
    """Return what an operator reads of it.

    Parameters
    ----------
    named
        Whether it will be shown: to find what a key was meant to be takes long.
    """
    shape, given = wrong.shape, wrong.given
    if shape is None:
        meant = _meant(str(given), wrong.known, known_paths) if named else "see config/edgerec.yaml"
        return Problem(wrong.path, "unknown", meant)
    if shape.fields:
        keys = ", ".join(field.name for field in dataclasses.fields(shape.type))
        return Problem(wrong.path, f"{_show(given)} is not a section", f"give it keys of: {keys}")
    read = given.in_yaml if isinstance(given, Misreadable) else ""
    hint = f"expected {shape.expected}{_advice(shape, given)}"
    return Problem(wrong.path, f"{_show(given)} is not allowed{read}", hint)


def _meant(key: str, known: Sequence[str], known_paths: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    # A wrong indentation puts a good key in a bad place.
    elsewhere = [path for path in known_paths if path.endswith(f".{key}")]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"the keys here are: {', '.join(known)}"


_QUOTES: Final = "; put it in quotes"
_WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def _advice(shape: Shape, given: object) -> str:
    """Explain YAML's guesses, and say what to write in place of a value that shows one of them."""
    if shape.type in (str, Path) and not isinstance(given, str | list | dict | None):
        return f'; put it in quotes: "{given}"' if isinstance(given, Misreadable) else _QUOTES
    if shape.type in (tuple[str, ...], Mapping[str, str]):
        return _advice_on_texts(given)
    if shape.type is bool:
        wanted = given.boolean if isinstance(given, Misreadable) else _WORDS.get(str(given).lower())
        return "" if wanted is None else f"; write {str(wanted).lower()}, without quotes"
    if shape.type not in (int, float, int | tuple[int, ...]):
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
