"""Moves what can't be understood or published out of the way."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Final

from edgerec.audio import TRACKS
from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step, is_no_room
from edgerec.store.records.layout import CHUNK
from edgerec.store.records.naming import AUDIO_SUFFIXES, JOURNAL_SUFFIX, WAV_SUFFIX
from edgerec.store.root import StorageRoot
from edgerec.store.writing.wav import HEADER_BYTES

REASON_SUFFIX: Final = ".reason.txt"
MAX_REASON_CHARS: Final = 1000  # it may quote the file

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
"""Names that are kept: all that edgerec makes, and none that is a problem in a terminal or a shell,
or too long to be made longer."""


def quarantine(root: StorageRoot, path: Path, reason: str) -> Path:
    """Move a file to `quarantine/`, durably, the reason beside it.

    A plain name is kept, unless a file there already has it.

    Raises
    ------
    StoreError
        It can't be moved, and stays where it is.
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


def group_of(root: StorageRoot, journal: Path) -> list[Path]:
    """Return the files of a journal's chunk in the work folder, the journal first."""
    stem = journal.name.removesuffix(JOURNAL_SUFFIX)
    # A chunk's tracks lie beside it; turns are numbered separately.
    stems = {stem, *(stem.removesuffix(CHUNK) + track for track in TRACKS)}
    names = {one + suffix for one in stems for suffix in AUDIO_SUFFIXES}
    paths = [root.work / name for name in sorted(names)]
    return [path for path in (journal, *paths) if disk.is_there(path)]


def is_at_fault(error: Exception, group: Collection[Path]) -> bool:
    """Tell whether a chunk can't be published because of its own files; else a retry may succeed.

    Parameters
    ----------
    group
        The chunk's files.
    """
    if isinstance(error, StoreError):
        return error.path in group and not is_no_room(error)
    return not isinstance(error, MemoryError)


def set_aside(root: StorageRoot, group: Collection[Path], reason: str) -> list[Path]:
    """Move a chunk's files to quarantine, and return where they are.

    Its journal, the first of them, goes first: a journal whose audio is gone would count as
    published.

    Raises
    ------
    StoreError
        One can't be moved; call it again with the rest.
    """
    return [quarantine(root, path, reason) for path in group]


def holds_audio(path: Path) -> bool:
    """Tell whether a file of the work folder holds audio, and more than a header."""
    if path.suffix not in AUDIO_SUFFIXES:
        return False
    with disk_step("reading", path):
        size_bytes = path.lstat().st_size
    return size_bytes > (HEADER_BYTES if path.suffix == WAV_SUFFIX else 0)
