"""Reads text of the kernel's files and of programs, whatever bytes it holds.

Names in it (mounts, cards, processes) are bytes that others have chosen: not always UTF-8, and with
any character except those that separate fields. So nothing here fails because of them, and lines
and fields end at a line feed and at ASCII blanks only, not at their Unicode equivalents. Bytes that
are not UTF-8 are decoded as by `os.fsdecode`: `os.fsencode` restores them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BLANKS: Final = re.compile("[ \t]+")
_OCTAL: Final = re.compile(rb"\\([0-3][0-7]{2})")  # a blank inside a field, proc_mounts(5)


def text_of(data: bytes) -> str:
    """Return bytes from elsewhere as text."""
    return data.decode("utf-8", "surrogateescape")


def read_text(path: Path) -> str:
    """Return what a file holds.

    Raises
    ------
    OSError
        It can't be read.
    """
    return text_of(path.read_bytes())


def lines(text: str) -> list[str]:
    """Return the lines of a text, without the empty one after its end."""
    return text.removesuffix("\n").split("\n") if text else []


def rows(text: str) -> Iterator[list[str]]:
    """Yield the fields of each line of a table such as /etc/fstab, without comments."""
    for line in lines(text):
        fields = _BLANKS.split(line.strip(" \t\r"))
        if not fields[0].startswith("#"):
            yield [_unescaped(field) for field in fields]


def _unescaped(field: str) -> str:
    data = field.encode("utf-8", "surrogateescape")
    return text_of(_OCTAL.sub(lambda octal: bytes([int(octal[1], 8)]), data))
