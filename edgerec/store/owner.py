"""Keeps root from leaving files in another user's storage root, which that user could not move.

A single `sudo edgerec recover` would make a folder for today that the service can't publish into.
"""

from __future__ import annotations

import os
import pwd
import secrets
from contextlib import suppress
from pathlib import Path

from edgerec.store.disk import FILE_MODE, StoreError, disk_step


def check_owner(folder: Path) -> None:
    """Make sure, as root, that what this process creates in a folder belongs to its owner.

    File systems without owners (vfat, exFAT) give all files the same owner: there root may write.

    Raises
    ------
    StoreError
        New files would belong to root, and the folder does not.
    """
    if os.geteuid() != 0:
        return  # the folder's modes say what is allowed
    with disk_step("looking at", folder):
        owner = folder.stat().st_uid
    if owner == 0 or _uid_of_new_files(folder) != 0:
        return
    name = str(owner)
    with suppress(KeyError):
        name = pwd.getpwuid(owner).pw_name
    raise StoreError("using", folder, f"it is {name}'s; do this as that user: sudo -u {name} ...")


def _uid_of_new_files(folder: Path) -> int:
    probe = folder / f".owner-{secrets.token_hex(4)}"
    with disk_step("creating", probe):
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        with disk_step("deleting", probe):
            probe.unlink()
