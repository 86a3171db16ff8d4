"""Moves files that can't be understood to `quarantine/`, out of the way but not lost.

There a file has a name that is safe anywhere, with a note beside it: why it is there, and what it
was called.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.root import StorageRoot

REASON_SUFFIX: Final = ".reason.txt"
MAX_REASON_CHARS: Final = 1000  # it may quote what it complains of

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
"""Names that are kept: all that edgerec makes, and none that a terminal, a shell or a longer name
made from it could trip over."""


def quarantine(root: StorageRoot, path: Path, reason: str) -> Path:
    """Move a file to `quarantine/`, durably, the reason beside it.

    A plain name is kept, unless an earlier one there has it.

    Raises
    ------
    StoreError
        It can't be moved; it is where it was.
    """
    root.make_quarantine()
    name = path.name if _PLAIN.fullmatch(path.name) else f"leftover-{secrets.token_hex(4)}"
    target = root.quarantine / name
    if disk.is_there(target):
        target = target.with_name(f"{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    note = f"{reason[:MAX_REASON_CHARS]}\nWas {str(path)!a}.\n"
    disk.replace(target.with_name(target.name + REASON_SUFFIX), note.encode(errors="replace"))
    disk.move(path, target)
    disk.sync_folder(root.quarantine)
    disk.sync_folder(path.parent)
    return target
