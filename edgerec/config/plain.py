"""Reads unquoted words of a YAML file where a person and every YAML parser agree on them.

YAML 1.1 takes `030` for 24, `1:30` for 90, `on` for true and `2026-11-22` for a date; YAML 1.2 does
not. Such a word is `Misreadable`, which no setting accepts; all others are null, a boolean, a plain
decimal number, or the text as it stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import yaml

_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)")
_LEADING_ZERO: Final = re.compile(r"-?0[0-9]+(?:\.[0-9]+)?")  # 08, which no YAML takes for octal
_DIGITS: Final = 100  # no setting takes as many
_BOOLEANS: Final = {
    word: value for value in (True, False) for word in (f"{value}", f"{value}".lower())
}
_NULLS: Final = ("", "null", "Null", "NULL")
_TRUE: Final = ("yes", "y", "on", "true")
_FALSE: Final = ("no", "n", "off", "false")
_TEXT: Final = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Misreadable:
    """A word that may be read in more than one way."""

    text: str

    def __str__(self) -> str:
        """Return the word as written in the file."""
        return self.text

    @property
    def boolean(self) -> bool | None:
        """The boolean that a person would read; None: neither."""
        word = self.text.lower()
        return True if word in _TRUE else False if word in _FALSE else None

    @property
    def decimal(self) -> str | None:
        """The number that is probably meant, in plain digits; None: nothing like one."""
        plain = re.sub(r"^\+|_", "", self.text)
        plain = re.sub(r"^(-?)0+(?=[0-9])", r"\1", plain).removesuffix(".")
        if _NUMBER.fullmatch(plain):
            return plain
        value = _in_yaml(self.text)
        return None if value is None else f"{value:g}" if value < 1e6 else str(int(value))

    @property
    def in_yaml(self) -> str:
        """How YAML 1.1 reads it, for a message; empty: nothing to say."""
        value = _in_yaml(self.text)
        return "" if value is None else f": YAML reads it as {value:.12g}"


def read_plain(text: str) -> bool | int | float | str | Misreadable | None:
    """Return what an unquoted word means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _NUMBER.fullmatch(text):
        if len(text) > _DIGITS:
            return Misreadable(text)
        return float(text) if "." in text else int(text)
    ambiguous = text.lower() in (*_TRUE, *_FALSE) or _LEADING_ZERO.fullmatch(text)
    if ambiguous or _tag(text) != _TEXT:
        return Misreadable(text)
    return text


def _tag(text: str) -> str:
    """Return what YAML 1.1 takes the word for."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], ()):
        if pattern.match(text):
            return str(tag)
    return _TEXT


def _in_yaml(text: str) -> float | None:
    """Return the number that YAML 1.1 reads, unless it is a date or beyond any setting."""
    try:
        value = yaml.safe_load(text)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
            return value
    except (yaml.YAMLError, ValueError, ArithmeticError):
        pass  # a date with a month 13
    return None
