"""What must the work folder remember of a chunk, so that a crash loses no facts?

Beside the audio lies a journal of JSON lines: the first says what the chunk is, each further one
that from a frame on a track is audio, or silence for a reason. A line is written before the audio
it is about, and made durable before a sync makes that audio durable: audio that is there has its
gaps known. The last line closes the chunk: where it stands, all audio is durable, and nothing is
left to do but to publish it. Each line begins with its CRC-32, so that one that a crash or the
disk has damaged is not believed.
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

from edgerec.audio import TRACKS, EchoReport, Stamp, TimelineFrame, TrackName, TrackReport
from edgerec.store.disk import create, disk_step, write_all
from edgerec.store.formats import Format
from edgerec.store.layout import Layout
from edgerec.store.ledger import Change, Levels
from edgerec.store.naming import JOURNAL_SUFFIX, FileKey, Session, What, work_name
from edgerec.store.sidecar import SOFTWARE, EndReason, TurnFacts

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known of a chunk when it begins."""

    session: Session
    sequence: int
    layout: Layout
    start: TimelineFrame
    missing_before: int
    """Frames before `start` that no file holds."""
    stamp: Stamp
    """Of `start`, as the clocks were known then."""
    reports: Mapping[TrackName, TrackReport]
    turn: TurnFacts | None = None
    """Of a turn, as it was known then."""

    def key(self, what: What) -> FileKey:
        """Return which file of which session one of the chunk's files is."""
        return FileKey(self.session.id, self.sequence, what)

    @property
    def journal_name(self) -> str:
        """Its journal's name in the work folder."""
        return work_name(self.key(self.layout.main), JOURNAL_SUFFIX)


@dataclass(frozen=True, slots=True)
class Closing:
    """What is known of a chunk when it ends, besides its gaps."""

    end_reason: EndReason
    recovered: bool
    """Put together after a crash."""
    frames: int
    stamp: Stamp
    """Of the first frame, as the clocks were known then."""
    files: Mapping[What, Format]
    """Those that hold audio, each with the form it is in: all of the layout's, or after a crash
    what is left."""
    reports: Mapping[TrackName, TrackReport]
    late_frames: Mapping[TrackName, int]
    """That came too late for this chunk."""
    levels: Mapping[TrackName, Levels]
    turn: TurnFacts | None = None


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal says, as far as it got."""

    opening: Opening
    changes: Mapping[TrackName, Sequence[Change]]
    closing: Closing | None
    """None: the chunk was cut short."""
    durable_frames: int | None
    """A sync failed behind so many frames: what follows can't be relied upon. None: none did."""


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
        """Write down where a track changes between audio and silence."""
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
        """Let go of it after a failure.

        Parameters
        ----------
        durable_frames
            How much of the audio was durable before a sync failed. The kernel may have dropped
            the rest and say all is well the second time: whoever recovers it must know.

        Raises
        ------
        OSError
            That can't be written down either.
        """
        try:
            if durable_frames is not None:
                write_all(self._file, _encode({"durable_frames": durable_frames}))
        finally:
            self._file.close()


class JournalError(Exception):
    """A journal that does not even say what its chunk is."""


def read_journal(path: Path) -> JournalContent:
    """Read a journal back, as far as it got: a crash may have cut its last line short.

    Raises
    ------
    JournalError
        The first line is missing or malformed.
    StoreError
        The disk fails.
    """
    opening: Opening | None = None
    changes: dict[TrackName, list[Change]] = {track: [] for track in TRACKS}
    closing = durable_frames = None
    for fields in _whole_lines(path):
        if opening is None:
            opening = _opening(path, fields)
        elif "closing" in fields:
            closing = _closing(fields["closing"])
        elif "durable_frames" in fields:
            durable_frames = fields["durable_frames"]
        else:
            changes[fields["track"]].append(Change(fields["frame"], fields["code"]))
    if opening is None:
        raise JournalError(f"{path} does not say what its chunk is")
    return JournalContent(opening, changes, closing, durable_frames)


def append_closing(path: Path, closing: Closing) -> None:
    """Close the chunk of a journal that a crash cut short, durably; all audio must be durable."""
    with disk_step("writing", path), path.open("r+b", buffering=0) as file:
        whole = takewhile(lambda line: _decode(line) is not None, _lines(path))
        size_bytes = sum(len(line) + 1 for line in whole)
        file.truncate(size_bytes)  # behind a damaged line nothing would be believed
        file.seek(size_bytes)
        write_all(file, _encode({"closing": asdict(closing)}))
        os.fsync(file.fileno())


def _lines(path: Path) -> list[bytes]:
    with disk_step("reading", path):
        return path.read_bytes().split(b"\n")


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines up to the first that is damaged: what follows it is not believed either."""
    for fields in map(_decode, _lines(path)):
        if fields is None:
            return
        yield fields


def _opening(path: Path, fields: Mapping[str, Any]) -> Opening:
    if fields.get("edgerec_journal") != VERSION:
        raise JournalError(f"{path} is no journal of version {VERSION}")
    return Opening(
        session=Session(**fields["session"]),
        sequence=fields["sequence"],
        layout=Layout(**fields["layout"]),
        start=fields["start"],
        missing_before=fields["missing_before"],
        stamp=Stamp(**fields["stamp"]),
        reports=_reports(fields["reports"]),
        turn=_turn(fields.get("turn")),
    )


def _closing(fields: Mapping[str, Any]) -> Closing:
    return Closing(
        end_reason=fields["end_reason"],
        recovered=fields["recovered"],
        frames=fields["frames"],
        stamp=Stamp(**fields["stamp"]),
        files=fields["files"],
        reports=_reports(fields["reports"]),
        late_frames=fields["late_frames"],
        levels={track: Levels(**levels) for track, levels in fields["levels"].items()},
        turn=_turn(fields.get("turn")),
    )


def _reports(fields: Mapping[str, Any]) -> dict[TrackName, TrackReport]:
    return {
        track: TrackReport(**{**fields[track], "echo": EchoReport(**fields[track].get("echo", {}))})
        for track in TRACKS
    }


def _turn(fields: Mapping[str, Any] | None) -> TurnFacts | None:
    return None if fields is None else TurnFacts(**fields)


def _encode(line: Mapping[str, object]) -> bytes:
    body = json.dumps(line).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _decode(line: bytes) -> dict[str, Any] | None:
    """Return what was written, or None if it is not whole."""
    crc, _, body = line.partition(b" ")
    if crc != b"%08x" % zlib.crc32(body) or not body:
        return None
    fields: dict[str, Any] = json.loads(body)
    return fields
