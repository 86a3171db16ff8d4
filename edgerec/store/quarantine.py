"""Where does a file go that nobody can make sense of, so that it is out of the way but not lost?"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.root import StorageRoot

REASON_SUFFIX: Final = ".reason.txt"


def quarantine(root: StorageRoot, path: Path, reason: str) -> Path:
    """Move a file from the work folder to `quarantine/`, durably, the reason beside it.

    Its name is kept, unless an earlier one there has it.

    Raises
    ------
    StoreError
        It can't be moved; it is where it was.
    """
    target = root.quarantine / path.name
    if target.exists() or target.is_symlink():
        target = root.quarantine / f"{path.stem}.{secrets.token_hex(4)}{path.suffix}"
    disk.replace(target.with_name(target.name + REASON_SUFFIX), f"{reason}\n".encode())
    disk.move(path, target)
    disk.sync_folder(root.quarantine)
    disk.sync_folder(root.work)
    return target
