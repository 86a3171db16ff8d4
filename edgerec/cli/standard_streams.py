"""Makes sure that standard input, output and error are open, as every library expects."""

from __future__ import annotations

import os
import sys
from typing import Final

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing() -> None:
    """Open /dev/null for each standard stream that was closed before our start.

    Otherwise the next file that is opened, perhaps an audio file, gets its number, and whatever a
    library prints on stderr is written into that file.
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
