"""Constraints on a value beyond its type, for the annotation of a dataclass's field."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Final, Protocol


class Constraint(Protocol):
    """A constraint that a field carries in its annotation."""

    @property
    def expected(self) -> str:
        """What is allowed, as text to follow "a number" or "a text"."""
        ...

    def allows(self, value: object) -> bool:
        """Tell whether a value of the field's type is allowed."""
        ...


@dataclass(frozen=True, slots=True)
class Between:
    """A number in a range, both ends included."""

    low: float
    high: float
    unit: str = ""

    @property
    def expected(self) -> str:
        """The range and its unit."""
        return f"from {self.low} to {self.high} {self.unit}".rstrip()

    def allows(self, value: object) -> bool:
        """Tell whether it is in the range; not-a-number never is."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Matches:
    """A text of a given form."""

    pattern: str
    expected: str

    def allows(self, value: object) -> bool:
        """Tell whether all of it has the form."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """A list of one thing or more."""

    expected: str

    def allows(self, value: object) -> bool:
        """Tell whether there is one."""
        return bool(value)


_SHARED_FOLDERS: Final = re.compile(  # of the Filesystem Hierarchy Standard, without the first /
    "|bin|boot|dev|dev/shm|etc|home|home/[^/]+|lib(32|64|x32)?|media|mnt|opt|proc|root|run"
    "|run/(lock|user)|sbin|srv|sys|tmp|usr|usr/[^/]+|var"
    "|var/(backups|cache|lib|local|lock|log|mail|opt|run|spool|tmp)"
)


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A number of channels, or a list of channel numbers without repeats."""

    high: int

    @property
    def expected(self) -> str:
        """The range of both."""
        return f"from 1 to {self.high}, as in 2 or [1, 3]"

    def allows(self, value: object) -> bool:
        """Tell whether every number is in the range, and none is twice in a list."""
        numbers = value if isinstance(value, tuple) else (value,)
        in_range = all(isinstance(number, int) and 1 <= number <= self.high for number in numbers)
        return bool(numbers) and in_range and len(set(numbers)) == len(numbers)


@dataclass(frozen=True, slots=True)
class EnvironmentVariables:
    """A mapping that a process can be started with."""

    expected: str = "of environment variables to texts"

    def allows(self, value: object) -> bool:
        """Tell whether the system takes every name and text."""
        return isinstance(value, dict) and all(
            re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) and "\0" not in text
            for name, text in value.items()
        )


@dataclass(frozen=True, slots=True)
class AbsolutePath:
    """An absolute path: a service has no working directory to rely on."""

    max_bytes: int = 4095  # PATH_MAX of Linux without its closing NUL
    ending: str = ""

    @property
    def expected(self) -> str:
        """The form, and the limit."""
        ending = f" and ends in {self.ending}" if self.ending else ""
        return f"that begins with /{ending}, of at most {self.max_bytes} bytes"

    def allows(self, value: object) -> bool:
        """Tell whether the system could open it, if it were there."""
        text = str(value)
        fits = "\0" not in text and len(text.encode()) <= self.max_bytes
        return text.startswith("/") and text.endswith(self.ending) and fits


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """The path of a folder that belongs to edgerec alone.

    edgerec makes folders and deletes files in it, may change its owner and mode, and a sync job
    works on it. So it must not be a system folder, or a folder with a user's other files.
    """

    expected: str = (
        "that begins with /, of at most 4095 bytes and without .., to a folder of edgerec's own, "
        "such as /srv/edgerec"
    )

    def allows(self, value: object) -> bool:
        """Tell whether it is such a path, judging by the text alone: links are not followed."""
        folders = [part for part in str(value).split("/") if part not in ("", ".")]
        is_shared = _SHARED_FOLDERS.fullmatch("/".join(folders)) is not None
        return AbsolutePath().allows(value) and ".." not in folders and not is_shared


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program and its arguments, to be run without a shell, or nothing.

    Placeholders are those of `str.format`, by name only.
    """

    placeholders: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The form, and the placeholders there are."""
        names = ", ".join(f"{{{name}}}" for name in self.placeholders)
        return (
            f"of a program and its arguments, with no placeholder but {names} "
            "(a brace itself is written twice)"
        )

    def allows(self, value: object) -> bool:
        """Tell whether it could be run, and its placeholders filled."""
        if not isinstance(value, tuple):
            return False
        has_program = value[:1] != ("",)
        return has_program and all(self._fillable(argument) for argument in value)

    def _fillable(self, argument: str) -> bool:
        try:
            parts = list(string.Formatter().parse(argument))
        except ValueError:  # a brace without its other half
            return False
        return "\0" not in argument and all(
            name is None or (name in self.placeholders and not spec and conversion is None)
            for _, name, spec, conversion in parts
        )
