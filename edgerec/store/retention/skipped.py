"""Entries under `ready/` that retention skips, and why: counted, with the first few named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgerec.store.disk import StoreError

NAMED: Final = 3  # people read the status, and mostly all have the same problem


class Skipped:
    """The entries skipped in one complete scan."""

    def __init__(self) -> None:
        self._count = 0
        self._named: list[str] = []

    def note(self, path: Path, why: str) -> None:
        """Count an entry; its name may hold anything."""
        self._count += 1
        if len(self._named) < NAMED:
            self._named.append(f"{str(path)!a}: {why}")

    @contextmanager
    def step(self, path: Path) -> Iterator[None]:
        """Count an entry if a step of the disk inside fails because of it.

        Something that has gone meanwhile, as a sync job may take anything, is not counted.
        """
        try:
            yield
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                self.note(path, error.problem)

    @property
    def told(self) -> str | None:
        """A sentence about all skipped entries; None: there are none."""
        if not self._count:
            return None
        more = self._count - len(self._named)
        return "; ".join((*self._named, *([f"and {more} more"] if more else [])))
