"""Recognises chunks whose own files keep them from being published, and quarantines them whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgerec.audio import TRACKS
from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step, is_no_room
from edgerec.store.records.formats import WAV_SUFFIX
from edgerec.store.records.layout import CHUNK
from edgerec.store.records.naming import AUDIO_SUFFIXES, JOURNAL_SUFFIX
from edgerec.store.root import StorageRoot
from edgerec.store.writing.quarantine import quarantine
from edgerec.store.writing.wav import HEADER_BYTES


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
        One can't be moved; do it again with the rest.
    """
    return [quarantine(root, path, reason) for path in group]


def holds_audio(path: Path) -> bool:
    """Tell whether a file of the work folder holds audio, and more than a header."""
    if path.suffix not in AUDIO_SUFFIXES:
        return False
    with disk_step("reading", path):
        size_bytes = path.lstat().st_size
    return size_bytes > (HEADER_BYTES if path.suffix == WAV_SUFFIX else 0)
