"""What is wrong with a configuration, said so that it can be put right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct."""

    path: str
    """The key, such as `recording.sample_rate`, or a line; empty: the file as a whole."""
    problem: str
    hint: str

    def __str__(self) -> str:
        """Return it as a line for people."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.problem}; {self.hint}"


class ConfigError(Exception):
    """A configuration that can't be used, with everything that is wrong with it.

    Attributes
    ----------
    file
        Where it came from.
    problems
        At least one.
    """

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"{file}: {count}{lines}")
