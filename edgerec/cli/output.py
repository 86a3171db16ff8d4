"""How do commands print what people and programs read?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from edgerec.clock import raw_now_ns

if TYPE_CHECKING:  # or `edgerec check` would load numpy
    from edgerec.store.publish import Published

_REDRAW_NS: Final = 100_000_000


def print_json(value: object) -> None:
    """Print one JSON document on stdout, indented for the people who look at it all the same."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def os_failure(doing: str, error: OSError) -> str:
    """Return what was being done to which file, and what became of it."""
    what = f"{doing} {error.filename}" if error.filename is not None else doing
    return f"{what}: {error.strerror or error}"


def print_published(published: Sequence[Published], root: Path) -> None:
    """List published files as a table, below the folder they have in common."""
    print(f"{len(published)} files under {root}:")
    for file in published:
        path = file.path.relative_to(root)
        print(f"  {path}  {file.kind}, {file.frames} frames, ended by {file.end_reason}")


def published_as_json(published: Sequence[Published]) -> list[dict[str, object]]:
    """Return published files as JSON values."""
    return [
        {
            "file": str(file.path),
            "sidecar": str(file.sidecar),
            "kind": file.kind,
            "start_frame": file.start,
            "frames": file.frames,
            "end_reason": file.end_reason,
        }
        for file in published
    ]


class Progress:
    """A line on the terminal that says how far something is; silent anywhere else.

    A context manager, which leaves no trace of it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._drawn_ns = 0

    def seconds(self, done: float) -> None:
        """Say how many seconds of audio are done."""
        if self._shown and raw_now_ns() - self._drawn_ns >= _REDRAW_NS:
            self._drawn_ns = raw_now_ns()
            minutes, seconds = divmod(int(done), 60)
            print(f"{self._what} {minutes}:{seconds:02d}", end="\r", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipe the line."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
