"""Reads words of YAML that everybody reads alike, and finds what a person sees differently.

YAML 1.1 takes `030` for 24, `1:30` for 90, `on` for true and `2026-11-22` for a date; YAML 1.2 does
not. Such a word is `Misreadable`, which no setting accepts; all others are null, a boolean, a plain
decimal number, or the text as it stands. Typing slips, each with its place, are invisible
characters (a no-break space, a tab inside a text), characters that only look like quotes, and what
ends a text inconspicuously (`: `, `, `, ` #`, the next line).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import yaml

from edgerec.config.problems import Place, Problem
from edgerec.validation.typed import shown

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


_CURLY: Final = (
    "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\xab\xbb\u2039\u203a`\xb4\uff02\uff07"
)
_BLANK_LETTERS: Final = "\u034f\u115f\u1160\u3164\uffa0"
_LINE_BREAKS: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_ESCAPES: Final = '\\"/xuU'  # those that a person reads as what they are
_GLUED_COMMENT: Final = re.compile(r"[ \t]+(#[^\s#].*)")
_IN_QUOTES: Final = "put the whole text in straight quotes"


class YamlMark(Protocol):
    """A place as given by PyYAML's two parsers, whose classes have no common base."""

    @property
    def index(self) -> int:
        """Number of characters before it."""
        ...

    @property
    def line(self) -> int:
        """Counted from 0."""
        ...

    @property
    def column(self) -> int:
        """Counted from 0."""
        ...


def start_of(event: yaml.Event) -> YamlMark:
    """Return where the text of an event begins."""
    assert event.start_mark is not None
    return event.start_mark


def end_of(event: yaml.Event) -> YamlMark:
    """Return where it ends."""
    assert event.end_mark is not None
    return event.end_mark


def place_of(mark: YamlMark) -> Place:
    """Return a parser's mark as a place."""
    return Place(mark.line + 1, mark.column + 1)


def bad_line_breaks(text: str) -> Iterator[Problem]:
    """Yield characters that end a line for YAML and not for an editor: text after them applies."""
    for found in _LINE_BREAKS.finditer(text):
        yield Problem(
            "",
            f"{_name(found[0])} ends a line for YAML only",
            "remove it, or save the file with Unix line ends",
            _place_at(text, found.start()),
        )


def slip_in(text: str, event: yaml.ScalarEvent) -> tuple[str, str, Place] | None:
    """Return what is wrong with how a scalar is written: problem, hint and place; None: nothing.

    Parameters
    ----------
    text
        The whole file.
    """
    start, end = start_of(event), end_of(event)
    written = text[start.index : end.index]
    for offset, character in enumerate(written):
        if _is_invisible(character):
            place = _place_at(text, start.index + offset)
            code = ascii(character)[1:-1].replace("\t", "\x09")
            hint = f"type a space, or nothing; in double quotes it can be written as {code}"
            return f"{_name(character)} looks like a space or like nothing", hint, place
    place = place_of(start)
    if start.line != end.line:
        told = f"{shown(written.splitlines()[0])} continues in the next line"
        return told, "write it in one line; look for a quote, a colon or a space left out", place
    if event.style in (None, ""):
        return _plain_slip(text, event, written, place)
    wrong = [one[0] for one in _ESCAPE.finditer(written) if one[1] not in _PLAIN_ESCAPES]
    if event.style == '"' and wrong:
        told = f"{wrong[0]} in double quotes stands for another character"
        return told, f"write \\{wrong[0]} for a backslash, or use single quotes", place
    return None


def _plain_slip(
    text: str, event: yaml.ScalarEvent, written: str, place: Place
) -> tuple[str, str, Place] | None:
    if written and (written[0] in _CURLY or written[-1] in _CURLY):
        told = f"{shown(written)} is not in quotes: these are others than YAML's"
        return told, f'use straight quotes: "{shown(written.strip(_CURLY))}"', place
    comment = _GLUED_COMMENT.match(text, end_of(event).index)
    if comment and not _is_word(written):
        told = f"{shown(written)} ends before {shown(comment[1])}, which is a comment"
        return told, f"{_IN_QUOTES}, or leave a space after the #", place
    return None


def key_without_value(text: str, key: yaml.ScalarEvent, before: YamlMark | None) -> tuple[str, str]:
    """Return problem and hint of a key in braces that has no colon.

    Parameters
    ----------
    before
        Where the value before it begins, if there is one.
    """
    told = f"{shown(key.value)} has no value"
    if ":" in key.value:
        return told, "leave a space after the colon"
    if before is None:
        in_braces = f"{{{shown(key.value)}}}"
        return told, f'give it one after a colon; a text in braces needs quotes: "{in_braces}"'
    whole = text[before.index : end_of(key).index]
    return told, f'a comma ends a text in braces; if it belongs to the text, write "{shown(whole)}"'


def syntax_problem(text: str, error: yaml.MarkedYAMLError) -> Problem:
    """Return what keeps a file from being YAML, with the likeliest reason."""
    mark: YamlMark | None = error.problem_mark or error.context_mark
    assert mark is not None  # scanner and parser give every error one
    lines = text.splitlines()
    for number in (mark.line, mark.line - 1):  # the reason often stands in the line before
        line = lines[number] if 0 <= number < len(lines) else ""
        column = len(line) - len(line.lstrip(" "))
        if line[column:] and _is_invisible(line[column]):
            told = f"{_name(line[column])} in the indentation"
            return Problem("", told, "indent by spaces", Place(number + 1, column + 1))
    rest = text[mark.index :]
    return Problem(
        "",
        error.problem or error.context or "not YAML",
        _syntax_hint(rest, error.problem or ""),
        place_of(mark),
    )


def _syntax_hint(rest: str, problem: str) -> str:
    if not rest.strip():
        return "a quote or bracket is left open, or the file was cut short"
    if rest.startswith(":") or "mapping values" in problem:
        return f'a text with ": " in it: {_IN_QUOTES}; or a space is missing after the colon before'
    if rest[0] in "{}[]@`%&*!|>,":
        return f"a text with a {rest[0]} there: {_IN_QUOTES}"
    return "check the indentation, the colons and the quotes there and in the line before"


def _is_invisible(character: str) -> bool:
    if " " <= character <= "~" or character == "\n" or character == "\r":
        return False
    return unicodedata.category(character) in ("Zs", "Cf", "Cc") or character in _BLANK_LETTERS


def _is_word(text: str) -> bool:
    """Tell whether a text can't have a second word: a number, or null."""
    return re.fullmatch(r"[-0-9.]+|true|false|null", text) is not None


def _name(character: str) -> str:
    if character == "\t":
        return "a tab"
    if character == "\r":
        return "a carriage return"
    return f"{unicodedata.name(character, 'a control character')} (U+{ord(character):04X})"


def _place_at(text: str, index: int) -> Place:
    return Place(text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1)
