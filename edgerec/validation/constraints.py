"""Constraints on a value beyond its type, for the annotation of a dataclass's field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol


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
