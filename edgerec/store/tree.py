"""Which files are there in a tree of published ones, a kiosk's own or an archive?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgerec.store.disk import disk_step
from edgerec.store.root import QUARANTINE


def walk(top: Path) -> Iterator[Path]:
    """Yield every file at any depth, in order, but not what is in progress or in quarantine.

    Folders may go meanwhile: retention removes the empty ones.

    Raises
    ------
    StoreError
        A folder can't be listed, such as `top` itself.
    """

    def not_listed(error: OSError) -> None:
        folder = Path(error.filename)
        if isinstance(error, FileNotFoundError) and folder != top:
            return
        with disk_step("listing", folder):
            raise error

    for folder, subfolders, names in os.walk(top, onerror=not_listed):
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name != QUARANTINE
        )
        yield from (Path(folder, name) for name in sorted(names))
