"""Prints all text to the terminal: lines without control characters, and results as text or JSON.

File names, device names and a service's answers come from elsewhere. Printed as they are, they
could move the cursor, change colours, hide or forge lines: whatever is not printable is shown as a
Python escape sequence instead, also the bytes of a name that is not UTF-8.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:  # or `edgerec check` would load numpy
    from edgerec.store.publish import FilePublished


def escaped(text: str) -> str:
    r"""Return text that a terminal shows as it is: `\n`, `\x1b`, `\u202e` for what is not one."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def say(line: object, *, flush: bool = False) -> None:
    """Print a line on stdout."""
    print(escaped(str(line)), flush=flush)


def note(line: object) -> None:
    """Print a line on stderr."""
    print(escaped(str(line)), file=sys.stderr)


def draw(text: str, file: TextIO) -> None:
    """Print text of our own with the control characters that it has, at once."""
    print(text, end="", file=file, flush=True)


_REDRAW_NS: Final = 100_000_000


def print_json(value: object) -> None:
    """Print one JSON document on stdout, indented for the people who look at it all the same."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    draw("".join(map(_json_escaped, text)) + "\n", sys.stdout)


def _json_escaped(one: str) -> str:
    return one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1]


def os_failure(doing: str, error: OSError) -> str:
    """Return what failed on which file, and how."""
    what = f"{doing} {error.filename}" if error.filename is not None else doing
    return f"{what}: {error.strerror or error}"


def print_published(published: Sequence[FilePublished], root: Path) -> None:
    """List published files as a table, below the folder they have in common."""
    say(f"{len(published)} files under {root}:")
    for file in published:
        path = file.path.relative_to(root)
        say(f"  {path}  {file.kind}, {file.frames} frames, ended by {file.end_reason}")


def published_as_json(published: Sequence[FilePublished]) -> list[dict[str, object]]:
    """Return published files as JSON values."""
    return [
        {
            "file": str(file.path),
            "sidecar": str(file.sidecar),
            "kind": file.kind,
            "start_frame": file.start_frame,
            "frames": file.frames,
            "end_reason": file.end_reason,
        }
        for file in published
    ]


class ProgressLine:
    """A line on the terminal that says how far something is; silent anywhere else.

    A context manager, which leaves no trace of it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()
        self._drawn_ns = 0

    def seconds(self, done: float) -> None:
        """Say how many seconds of audio are done."""
        from edgerec.clock import raw_now_ns  # not above: it imports ctypes, see `main`

        if self._shown and raw_now_ns() - self._drawn_ns >= _REDRAW_NS:
            self._drawn_ns = raw_now_ns()
            minutes, seconds = divmod(int(done), 60)
            draw(f"{self._what} {minutes}:{seconds:02d}\r", sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe the line."""
        if self._shown:
            draw("\r\033[K", sys.stderr)
