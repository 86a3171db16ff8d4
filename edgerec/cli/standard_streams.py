"""Are there the three files that every program begins with, and every part of one relies on?"""

from __future__ import annotations

import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Put nothing (/dev/null) in the place of a standard stream that was closed before our start.

    Otherwise the next file that is opened gets its number, an audio file perhaps, and what any
    library has to note of on stderr is written into that.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(
                os.devnull, os.O_RDWR
            )  # gets the lowest number that is free: this one
            os.set_inheritable(nothing, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
