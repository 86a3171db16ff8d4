"""Publishes finished files under `ready/`. A file has its final name exactly when it is published.

A published file is complete, durable, read-only and described by a sidecar that was durable before
it: any program that sees `X.wav` finds `X.json` complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.audio import TimelineFrame
from edgerec.store import disk
from edgerec.store.records.naming import (
    SIDECAR_SUFFIX,
    FileKey,
    What,
    parse_published,
    partition,
    published_stem,
)
from edgerec.store.records.sidecar import EndReason, Kind

_NOT_OURS: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP})


Find = Callable[[FileKey], Path | None]
"""Finds the published sidecar of a file, in whichever folder it is."""


@dataclass(frozen=True, slots=True)
class FilePublished:
    """A file has its final name: a chunk, a track, a turn, or the record of a session.

    It is also one of `session.events`.
    """

    session: str
    """Id of its session; a crash before this start may have left files of another one."""
    path: Path
    """Path of the file; for a session its record, which is a sidecar without audio."""
    sidecar: Path
    kind: Kind
    what: What
    """Content of the file, as in its name."""
    sequence: int
    start_frame: TimelineFrame
    frames: int
    end_reason: EndReason
    turn: int | None = None
    """Number of the turn in the session, from 1; None: the file is not a turn."""
    exchange: int | None = None
    """Number of the turn's exchange in the session, from 1."""


def sidecar_path(ready: Path, kiosk: str, started_utc_ns: int, key: FileKey) -> Path:
    """Return where the sidecar of a file goes, or the record of a session."""
    stem = published_stem(started_utc_ns, key)
    return ready.joinpath(*partition(kiosk, started_utc_ns), stem + SIDECAR_SUFFIX)


def fingerprint(path: Path) -> tuple[int, str]:
    """Return a file's length in bytes and its SHA-256 in hex."""
    with disk.disk_step("reading", path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def publish(audio: Path | None, sidecar: bytes, work: Path, folder: Path, stem: str) -> Path:
    """Give a finished file its final name beside its sidecar, so that both survive power loss.

    Parameters
    ----------
    audio
        The finished file in the work folder; None where the sidecar is all there is (a session).
    sidecar
        The sidecar's content.
    work
        The work folder, on the same file system as `folder`.
    folder
        The target folder; exists and is durable.
    stem
        The final name without suffix.

    Returns
    -------
    The sidecar's path.

    Raises
    ------
    StoreError
        The audio has exactly one of its two names. Don't retry in this process: after a failed
        fsync the kernel may have dropped the data and report success the second time. Recovery
        reads what the disk really holds.
    """
    draft = work / (stem + SIDECAR_SUFFIX)
    final = folder / draft.name
    if audio is not None:
        disk.make_read_only(audio)
        disk.sync_file(audio)  # before any name, or a name may outlive its contents
    disk.write_new(draft, sidecar)
    disk.make_read_only(draft)
    disk.move(draft, final)
    disk.sync_folder(folder)  # the sidecar is there for good before its audio appears
    if audio is not None:
        place(audio, final.with_suffix(audio.suffix))
    return final


def place(audio: Path, final: Path) -> None:
    """Give an audio file its final name beside its sidecar, which is already there."""
    disk.move(audio, final)
    disk.sync_folder(final.parent)
    disk.sync_folder(audio.parent)  # or a power cut may bring the work name back


class PublishedNames:
    """Finds published sidecars of some sessions in any folder, by one scan of `ready/`.

    Parameters
    ----------
    sessions
        Ids of the sessions to look for. Only their file names are kept in memory: `ready/` may
        hold a million files.
    """

    def __init__(self, ready: Path, sessions: Collection[str]) -> None:
        self._ready = ready
        self._sessions = sessions
        self._found: dict[FileKey, Path] | None = None

    def find(self, key: FileKey) -> Path | None:
        """Return the path of a sidecar; None if it does not exist (any more)."""
        if self._found is None:
            self._found = dict(self._look())
        return self._found.get(key)

    def _look(self) -> Iterator[tuple[FileKey, Path]]:
        for kiosk in _entries(self._ready):
            for day in _entries(kiosk):
                for path in _entries(day):
                    stem, suffix = os.path.splitext(os.path.basename(path))  # noqa: PTH119, PTH122
                    key = parse_published(stem) if suffix == SIDECAR_SUFFIX else None
                    if key is not None and key.session in self._sessions:
                        yield key, Path(path)


def _entries(folder: str | Path) -> list[str]:
    """Return the paths in a folder, as text: a Path costs five times as much."""
    try:
        with disk.disk_step("listing", Path(folder)), os.scandir(folder) as entries:
            return [entry.path for entry in entries]
    except disk.StoreError as error:
        if error.errno in _NOT_OURS:
            return []  # nothing that we have published is in there
        raise
