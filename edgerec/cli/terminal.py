"""Prints all text to the terminal: one line at a time, without control characters.

File names, device names and a service's answers come from elsewhere. Printed as they are, they
could move the cursor, change colours, hide or forge lines: whatever is not printable is shown as a
Python escape sequence instead, also the bytes of a name that is not UTF-8.
"""

from __future__ import annotations

import sys
from typing import TextIO


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
