"""Lists the published files under `ready/`, and which of them have been acknowledged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from edgerec.clock import SECOND_NS
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.records.naming import AUDIO_SUFFIXES, SIDECAR_SUFFIX, parse_published
from edgerec.store.records.sidecar_reader import MAX_BYTES
from edgerec.store.retention.plan import Stored
from edgerec.validation.bounded_json import JsonError, read_object

ACK_SUFFIX: Final = ".ack"
"""Suffix of the file that a sync job creates beside `X.wav` to acknowledge it."""


def kiosk_folders(ready: Path, skipped: Skipped) -> list[Path]:
    """Return the folders of kiosks, `kiosk=k1`; see `day_folders`."""
    return _folders(ready, "kiosk=", skipped)


def day_folders(ready: Path, skipped: Skipped) -> list[Path]:
    """Return the folders that hold files, `kiosk=k1/date=2026-11-22`.

    Only real folders: the target of a link is not ours to delete. Anything else with such a name,
    and a folder that can't be listed, is skipped.
    """
    return [
        day for kiosk in kiosk_folders(ready, skipped) for day in _folders(kiosk, "date=", skipped)
    ]


def _folders(parent: Path, prefix: str, skipped: Skipped) -> list[Path]:
    """Return the real folders in `parent` whose names begin with `prefix`, sorted."""
    found = []
    with skipped.step(parent), disk_step("listing", parent), os.scandir(parent) as entries:
        for entry in entries:
            if not entry.name.startswith(prefix):
                continue
            path = parent / entry.name
            if entry.is_dir(follow_symlinks=False):
                found.append(path)
            else:
                skipped.note(path, "a link" if entry.is_symlink() else "not a folder")
    return sorted(found)


def stored_in(folder: Path, session: str | None = None) -> Iterator[Stored]:
    """Yield what a folder holds, each file with its sidecar, in the order of their names.

    Parameters
    ----------
    session
        Yield only this session's files, with their start frames and end times, which takes reading
        every sidecar; None: all sessions, without these.
    """
    sizes: dict[str, dict[str, int]] = {}
    with disk_step("listing", folder), os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 -- a Path costs 5 times that
            key = parse_published(stem)
            if key is not None and session in (None, key.session):
                sizes.setdefault(stem, {})[suffix] = _size(entry)
    numbers: dict[str, int] = {}
    for stem in sorted(sizes):
        held = sizes[stem]
        key = parse_published(stem)
        assert key is not None
        path = folder / (stem + SIDECAR_SUFFIX)
        fields = _fields(path) if session or key.session not in numbers else {}
        if "session_number" in fields:
            numbers[key.session] = _whole(fields, "session_number")
        orphan = AUDIO_SUFFIXES.isdisjoint(held) and key.what != "session"
        yield Stored(
            path=path,
            session=key.session,
            session_number=numbers.get(key.session, 0),
            sequence=key.sequence,
            bytes=sum(held.values()),
            files=len(held),
            acknowledged=orphan or ACK_SUFFIX in held,
            orphan=orphan,
            ended_utc_ns=_ended(fields),
            start_frame=_whole(fields, "start_frame"),
            is_record=key.what == "session",
        )


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0  # a sync job has just taken it


def _fields(sidecar: Path) -> dict[str, object]:
    """Return the fields of a sidecar; none if it has gone or can't be read."""
    try:
        return read_object(sidecar, max_bytes=MAX_BYTES)
    except JsonError:
        return {}


def _whole(fields: dict[str, object], name: str) -> int:
    number = fields.get(name)
    return number if isinstance(number, int) else 0


def _ended(fields: dict[str, object]) -> int | None:
    """Return the time of a file's last frame; None where that is not certain."""
    try:
        if fields["utc_trusted"] is not True:
            return None
        started = datetime.fromisoformat(str(fields["started_at"]))
        form = fields.get("format")
        rate = form["sample_rate"] if isinstance(form, dict) else fields["sample_rate"]
        length_s = float(str(fields["frames"])) / float(str(rate))
        return round((started.timestamp() + length_s) * SECOND_NS)
    except (KeyError, ValueError, OverflowError, ZeroDivisionError):
        return None


NAMED: Final = 3  # people read the status, and usually all have the same problem


class Skipped:
    """The entries skipped in one complete scan."""

    def __init__(self) -> None:
        self._count = 0
        self._named: list[str] = []

    def note(self, path: Path, why: str) -> None:
        """Count a skipped entry; its name is escaped, because it may hold any bytes."""
        self._count += 1
        if len(self._named) < NAMED:
            self._named.append(f"{str(path)!a}: {why}")

    @contextmanager
    def step(self, path: Path) -> Iterator[None]:
        """Count an entry if a disk operation inside fails on it.

        An entry that has gone meanwhile is not counted: a sync job may take anything.
        """
        try:
            yield
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                self.note(path, error.problem)

    @property
    def told(self) -> str | None:
        """A sentence about all skipped entries; None: there are none."""
        if not self._count:
            return None
        more = self._count - len(self._named)
        return "; ".join((*self._named, *([f"and {more} more"] if more else [])))
