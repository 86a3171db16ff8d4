"""Finds what a valid configuration names but this machine lacks: hook programs and folders.

They are warnings: none of them prevents recording, and what is missing may appear later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgerec.config.problems import Problem
from edgerec.config.schema import Config
from edgerec.validation.typed import shown

_PATH_CHARACTERS: Final = 250


def absences(config: Config) -> Iterator[Problem]:
    """Yield what is missing for the user of this process; reads the disk."""
    for name in ("on_chunk", "on_turn", "on_state"):
        command: tuple[str, ...] = getattr(config.hooks, name)
        if command and shutil.which(command[0]) is None:
            yield Problem(f"hooks.{name}", *_no_program(command[0]))
    textfile = config.metrics.textfile
    if textfile is not None:
        wrong = _unwritable(textfile)
        if wrong is not None:
            yield Problem("metrics.textfile", *wrong)


def _no_program(program: str) -> tuple[str, str]:
    named = shown(program, _PATH_CHARACTERS)
    if "/" not in program:
        told = f"there is no program {named} in {os.environ.get('PATH', os.defpath)}"
        return told, "install it, or give its full path"
    if not os.path.lexists(program):
        return f"there is no program {named}", "install it, or correct the path"
    return f"{named} can't be run by this user", "make it executable for that user: chmod a+rx"


def _unwritable(textfile: Path) -> tuple[str, str] | None:
    folder = shown(str(textfile.parent), _PATH_CHARACTERS)
    # Of os.path: those of pathlib raise where a folder above may not be looked into.
    if not os.path.isdir(textfile.parent):  # noqa: PTH112
        return f"there is no folder {folder}", "create it, or name another folder"
    if not os.access(textfile.parent, os.W_OK | os.X_OK):
        told = f"this user may not write to {folder}"
        return told, "give the folder to the service's user; in the unit: ReadWritePaths="
    if os.path.isdir(textfile):  # noqa: PTH112
        return f"{folder}/{textfile.name} is a folder", "name a file in it"
    return None
