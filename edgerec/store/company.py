"""Keeps a storage root out of folders that hold other things.

A sync job takes everything under `ready/`, `edgerec verify` reads a whole tree, and `git clean`
in a checkout of sources deletes what git does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step

_OWN: Final = frozenset({"ready", "quarantine"})
_OF_SYSTEMS: Final = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN"})
"""Folders that file systems and other computers leave at the top of a disk."""
_NAMED: Final = 3


def check_company(folder: Path) -> None:
    """Make sure that nothing else is kept in a folder that is to become a storage root.

    Raises
    ------
    StoreError
        Something is, or the folder can't be looked into.
    """
    if others := others_in(folder):
        raise StoreError(
            "using", folder, f"it holds {others}; give storage.root a folder of its own"
        )


def others_in(folder: Path) -> str:
    """Return what a folder holds that is not edgerec's, in words; empty where that is nothing.

    Hidden entries are not counted: desktops and disks leave theirs in any folder.

    Raises
    ------
    StoreError
        It can't be looked into.
    """
    with disk_step("looking into", folder):
        found = [entry.name for entry in folder.iterdir()]
    names = sorted(
        name for name in found if not name.startswith(".") and name not in _OWN | _OF_SYSTEMS
    )
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(ascii, names[:_NAMED])) + more


def checkout_around(folder: Path) -> Path | None:
    """Return the git checkout that a folder is or lies in, if there is one.

    Raises
    ------
    StoreError
        A folder above may not be looked into.
    """
    above = (folder, *folder.parents)
    return next((one for one in above if disk.is_there(one / ".git")), None)
