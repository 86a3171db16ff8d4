"""The problems of a configuration, and how to fix them, in a bounded number of lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_SHOWN: Final = 20
"""Maximum number of listed problems: a file with more is not a configuration, or fails for one
reason."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A character of the file, both numbers counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        """Return it as editors show it."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct."""

    path: str
    """The key, such as `recording.sample_rate`; empty: the file as a whole."""
    problem: str
    hint: str
    place: Place | None = None
    """Place in the file; None: not at one place."""

    def __str__(self) -> str:
        """Return it as a line for people."""
        where = "".join(f"{part}: " for part in (self.place, self.path) if part)
        return f"{where}{self.problem}; {self.hint}"


class ConfigError(Exception):
    """A configuration that can't be used, with what is wrong with it.

    Attributes
    ----------
    file
        The file it came from.
    problems
        At least one and at most `MAX_SHOWN`, in the order of the file.
    more
        Number of further problems.
    """

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        found = sorted(problems, key=_order)
        self.problems = tuple(found[:MAX_SHOWN])
        self.more = len(found) - len(self.problems)
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        if self.more:
            lines += f"\n  and {self.more} more"
        super().__init__(f"{file}: {count}{lines}")


def _order(problem: Problem) -> tuple[bool, Place]:
    return problem.place is None, problem.place or Place(0, 0)
