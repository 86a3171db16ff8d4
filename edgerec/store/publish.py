"""A file is published once it has its final name, and not before.

Under `ready/` a file is complete, durable, read-only and described by a sidecar that was durable
before it: whoever sees `X.wav` finds `X.json` complete.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgerec.audio import TimelineFrame
from edgerec.store import disk
from edgerec.store.naming import SIDECAR_SUFFIX, FileKey, What, parse_published
from edgerec.store.sidecar import EndReason, Kind


@dataclass(frozen=True, slots=True)
class Published:
    """A file that has just been published."""

    path: Path
    """The audio file; for a session, its record."""
    sidecar: Path
    session: str
    """The session's id."""
    kind: Kind
    what: What
    sequence: int
    start: TimelineFrame
    frames: int
    end_reason: EndReason


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
        Where to; exists and is durable.
    stem
        The final name without suffix.

    Returns
    -------
    The sidecar's path.

    Raises
    ------
    StoreError
        The audio has exactly one of its two names. Don't try again in this process: after a
        failed fsync the kernel may have dropped the data and say all is well the second time.
        Recovery reads what the disk really holds.
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
    """Give an audio file its name beside the sidecar that is there already."""
    disk.move(audio, final)
    disk.sync_folder(final.parent)
    disk.sync_folder(audio.parent)  # or a power cut may bring the work name back


def delete_drafts(work: Path, key: FileKey) -> None:
    """Delete sidecars that an interrupted publish has begun: the next one begins them anew."""
    for draft in work.glob(f"*_{key}{SIDECAR_SUFFIX}"):
        if parse_published(draft.stem):
            with disk.disk_step("deleting", draft):
                draft.unlink()


def find_sidecar(ready: Path, key: FileKey) -> Path | None:
    """Return a file's published sidecar, wherever it is; None if it is not there (any more)."""
    return next(ready.glob(f"*/*/*_{key}{SIDECAR_SUFFIX}"), None)
