"""The journal of a chunk in progress, which preserves its facts across a crash.

It is a file of JSON lines beside the audio: the first describes the chunk, each further one says
from which frame on a track is audio, or silence and why. A line is written before the
audio it is about, and made durable before that audio: the gaps of durable audio are always known.
The last line closes the chunk: if it is there, all audio is durable and only publishing is left.
Each line begins with its CRC-32, so that a line damaged by a crash or the disk is ignored.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from edgerec.audio import TRACKS, GapReason, Stamp, TimelineFrame, TrackName, TrackReport
from edgerec.store.disk import StoreError, create, disk_step, write_all
from edgerec.store.records.gap_map import Change, Levels
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import JOURNAL_SUFFIX, FileKey, Format, Session, What, work_name
from edgerec.store.records.sidecar import SOFTWARE, EndReason, TurnFacts
from edgerec.validation.bounded_json import parse_object, read_bounded
from edgerec.validation.typed import from_plain

VERSION: Final = 1
MAX_BYTES: Final = 4 << 20  # with as many changes of both tracks as a chunk may have, 1 MB


@dataclass(frozen=True, slots=True)
class Opening:
    """Facts about a chunk when it begins."""

    session: Session
    sequence: int
    layout: Layout
    start: TimelineFrame
    missing_before: int
    """Number of frames before `start` that no file holds."""
    stamp: Stamp
    """Time of `start`, as the clocks were known when the chunk began."""
    reports: Mapping[TrackName, TrackReport]
    turn: TurnFacts | None = None
    """Facts of the turn, as known when its file began; None for a chunk."""

    def key(self, what: What) -> FileKey:
        """Return the key of one of the chunk's files."""
        return FileKey(self.session.id, self.sequence, what)

    @property
    def journal_name(self) -> str:
        """Name of the chunk's journal in the work folder."""
        return work_name(self.key(self.layout.main), JOURNAL_SUFFIX)


@dataclass(frozen=True, slots=True)
class Closing:
    """Facts about a chunk when it ends, apart from its gaps."""

    end_reason: EndReason
    recovered: bool
    """Whether the chunk was closed after a crash."""
    frames: int
    stamp: Stamp
    """Time of the first frame, as the clocks were known at the end."""
    files: Mapping[What, Format]
    """The files that hold audio, each with its format: all of the layout's, or after a crash what
    is left."""
    reports: Mapping[TrackName, TrackReport]
    late_frames: Mapping[TrackName, int]
    """Number of frames per track that came too late for this chunk."""
    levels: Mapping[TrackName, Levels]
    turn: TurnFacts | None = None


@dataclass(frozen=True, slots=True)
class JournalContent:
    """The content of a journal up to its end or its first damaged line."""

    opening: Opening
    changes: Mapping[TrackName, Sequence[Change]]
    closing: Closing | None
    """The closing line; None if the chunk was cut short."""
    durable_frames: int | None
    """Number of frames that were durable when a sync failed; None: no sync failed."""


class Journal:
    """The journal of one chunk in progress; not for more than one thread.

    Raises
    ------
    StoreError
        From every method, when the disk fails; `abandon` it then.
    """

    def __init__(self, folder: Path, opening: Opening) -> None:
        self.path = folder / opening.journal_name
        first = {"edgerec_journal": VERSION, "software": SOFTWARE, **asdict(opening)}
        self._file = create(self.path, _encode(first))
        self._durable = False

    def note(self, track: TrackName, changes: Sequence[Change]) -> None:
        """Record where a track changes between audio and silence."""
        for change in changes:
            line = {"track": track, "frame": change.frame, "code": change.code}
            with disk_step("writing", self.path):
                write_all(self._file, _encode(line))
            self._durable = False

    def sync(self) -> None:
        """Make the lines durable, if there is a new one."""
        if self._durable:
            return
        with disk_step("syncing", self.path):
            os.fdatasync(self._file.fileno())
        self._durable = True

    def end(self, closing: Closing) -> None:
        """Write the last line, durably, and stop; all audio must be durable before.

        The file stays until the chunk is published.
        """
        with disk_step("writing", self.path):
            write_all(self._file, _encode({"closing": asdict(closing)}))
        self._durable = False
        self.sync()
        with disk_step("closing", self.path):
            self._file.close()

    def abandon(self, durable_frames: int | None) -> None:
        """Close the journal after a failure.

        Parameters
        ----------
        durable_frames
            Number of frames that were durable before a sync failed. The kernel may have dropped
            the rest and report success the second time, so recovery has to know.

        Raises
        ------
        OSError
            The number can't be written either.
        """
        try:
            if durable_frames is not None:
                write_all(self._file, _encode({"durable_frames": durable_frames}))
        finally:
            self._file.close()


class JournalError(Exception):
    """A journal that does not even describe its chunk."""


def read_journal(path: Path) -> JournalContent:
    """Read a journal back, up to the first damaged line.

    Fields and kinds of lines that only a newer version knows are ignored.

    Raises
    ------
    JournalError
        It does not describe its chunk, holds impossible values, or belongs to another chunk.
    StoreError
        It can't be read.
    """
    try:
        content = _content(path)
    except (JournalError, StoreError):
        raise
    except Exception as error:
        raise JournalError(f"{path} holds impossible values: {error}") from error
    if content.opening.journal_name != path.name:
        # Its audio lies elsewhere, and what lies here is unknown.
        raise JournalError(f"{path} is the journal of {content.opening.journal_name}")
    return content


def _content(path: Path) -> JournalContent:
    opening: Opening | None = None
    changes: dict[TrackName, list[Change]] = {track: [] for track in TRACKS}
    closing: Closing | None = None
    durable_frames = None
    for fields in _whole_lines(path):
        if opening is None:
            if fields.get("edgerec_journal") != VERSION:
                raise JournalError(f"{path} is not a journal of version {VERSION}")
            opening = from_plain(Opening, fields)
        elif "closing" in fields:
            closing = from_plain(Closing, fields["closing"])
        elif "durable_frames" in fields:
            durable_frames = from_plain(_Durable, fields).durable_frames
        elif "track" in fields:
            changes[fields["track"]].append(from_plain(Change, fields))
    if opening is None:
        raise JournalError(f"{path} does not describe its chunk")
    content = JournalContent(opening, changes, closing, durable_frames)
    _check(content)
    return content


@dataclass(frozen=True, slots=True)
class _Durable:
    durable_frames: int


def _check(content: JournalContent) -> None:
    """Make sure that the numbers and names in a journal are consistent."""
    opening, closing = content.opening, content.closing
    if min(opening.sequence, opening.start, opening.missing_before) < 0:
        raise ValueError("a negative sequence number or frame count")
    if set(opening.reports) != set(TRACKS):
        raise ValueError("reports are not those of both tracks")
    for changes in content.changes.values():
        frames = [opening.start, *(change.frame for change in changes)]
        if frames != sorted(frames):
            raise ValueError("changes out of order")
        for change in changes:
            GapReason(change.code)
    if closing is None:
        return
    tracks = set(opening.layout.tracks)
    if closing.frames < 1 or not set() < set(closing.files) <= set(opening.layout.files):
        raise ValueError("the closing line has no frames or files, or other files than the chunk")
    if not set(closing.files.values()) <= {"wav", opening.layout.format}:
        raise ValueError("the closing line has files of another format")
    if not (set(closing.levels) == set(closing.late_frames) == tracks <= set(closing.reports)):
        raise ValueError("the closing line is of other tracks")


def append_closing(path: Path, closing: Closing) -> None:
    """Close the chunk of a journal that a crash cut short, durably; all audio must be durable."""
    with disk_step("writing", path), path.open("r+b", buffering=0) as file:
        whole = takewhile(_is_whole, _lines(path))
        size_bytes = sum(len(line) + 1 for line in whole)
        file.truncate(size_bytes)  # nothing after a damaged line would be read
        file.seek(size_bytes)
        write_all(file, _encode({"closing": asdict(closing)}))
        os.fsync(file.fileno())


def _lines(path: Path) -> list[bytes]:
    with disk_step("reading", path):
        return read_bounded(path, MAX_BYTES).split(b"\n")


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines before the first damaged one; what follows that is not used either."""
    for line in _lines(path):
        if not _is_whole(line):
            return
        yield parse_object(line.partition(b" ")[2])


def _encode(line: Mapping[str, object]) -> bytes:
    body = json.dumps(line).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _is_whole(line: bytes) -> bool:
    crc, _, body = line.partition(b" ")
    return bool(body) and crc == b"%08x" % zlib.crc32(body)
