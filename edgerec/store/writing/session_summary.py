"""Running totals of what a session has published, so that it can be closed even after a crash.

The totals have a fixed size. They are kept in `.state/` while the session is in progress, and
updated before the journal of a published chunk is deleted: a chunk whose journal still exists may
already be counted, and its sequence number shows whether it is.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from edgerec.audio import TRACKS, GapReason, Stamp, TimelineFrame, TrackName
from edgerec.store import disk
from edgerec.store.disk import NO_ROOM, StoreError, disk_step
from edgerec.store.publish import FilePublished, Find, publish, sidecar_path
from edgerec.store.records.naming import FileKey, Session, What, partition
from edgerec.store.records.sidecar import (
    ChunkFacts,
    EndReason,
    GapTotal,
    SessionFacts,
    describe_session,
    encode,
)
from edgerec.store.root import StorageRoot
from edgerec.store.writing.quarantine import quarantine
from edgerec.validation.bounded_json import JsonError, read_json
from edgerec.validation.typed import from_plain

PREFIX: Final = "open-session"
MAX_BYTES: Final = 1 << 16  # the file has 2 KB
EPOCH: Final = TimelineFrame(0)

_NAME: Final = re.compile(rf"{PREFIX}(-(?P<id>[0-9a-f]{{8}}))?\.json")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a session."""

    frames: int
    """Number of frames from its epoch, missing ones included."""
    stamp: Stamp
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Totals:
    """A session, and what it has published."""

    session: Session
    sample_rate: int
    start: Stamp
    """Time of its first frame, as the clocks were known then."""
    stop: TimelineFrame = EPOCH
    """The frame after the last one published."""
    frames: int = 0
    """Number of frames of the published chunks; the others before `stop` are missing."""
    next_sequence: Mapping[What, int] = field(default_factory=dict)
    """Sequence number of the first file not counted yet: of chunks, and of each speaker's turns."""
    files: Mapping[What, int] = field(default_factory=dict)
    gaps: Mapping[TrackName, Mapping[GapReason, GapTotal]] = field(
        default_factory=lambda: {track: {} for track in TRACKS}
    )
    ended: Ended | None = None
    """How the session ended; None: it is in progress, or a crash has ended it."""

    def __post_init__(self) -> None:
        """Refuse totals that can't be continued."""
        if set(self.gaps) != set(TRACKS) or self.sample_rate < 1:
            raise ValueError("gaps are not those of both tracks, or there is no sample_rate")

    def counts(self, facts: ChunkFacts) -> bool:
        """Whether a chunk or turn is already counted, or belongs to another session."""
        known = self.next_sequence.get(facts.layout.main, 0)
        return facts.session.id != self.session.id or facts.sequence < known

    def plus(self, facts: ChunkFacts, files: Mapping[What, object]) -> Totals:
        """Return the totals with one more chunk or turn, whose published files are `files`."""
        counted = dict(self.files)
        for what in files:
            counted[what] = counted.get(what, 0) + 1
        totals = replace(
            self,
            stop=TimelineFrame(max(self.stop, facts.start + facts.frames)),
            next_sequence={**self.next_sequence, facts.layout.main: facts.sequence + 1},
            files=counted,
        )
        if facts.turn is not None:
            return totals  # its frames are those of chunks
        gaps = {track: dict(of_track) for track, of_track in self.gaps.items()}
        for track, track_facts in facts.tracks.items():
            for gap in track_facts.gaps:
                gaps[track][gap.reason] = gaps[track].get(gap.reason, GapTotal()).plus(gap)
        return replace(totals, frames=self.frames + facts.frames, gaps=gaps)


def remember(root: StorageRoot, totals: Totals) -> None:
    """Store the totals of a session in progress, durably."""
    disk.replace(totals_file(root, totals.session.id), json.dumps(asdict(totals)).encode() + b"\n")


def recall(root: StorageRoot) -> list[Totals]:
    """Return the totals of the sessions that were never closed, except those in progress.

    A malformed file goes to quarantine; its session then gets no closing record.

    Raises
    ------
    StoreError
        The disk fails; call it again.
    """
    with disk_step("listing", root.state):
        names = sorted(path.name for path in root.state.iterdir())
    recalled = {}
    for name in names:
        session = _NAME.fullmatch(name)
        if session is None or session["id"] in root.open_sessions:
            continue
        path = root.state / name
        try:
            totals = read_json(path, partial(from_plain, Totals), max_bytes=MAX_BYTES)
        except JsonError as error:
            if error.errno in NO_ROOM:
                raise StoreError("reading", path, str(error), error.errno) from error
            _log.warning("totals of a session are malformed path=%s error=%s", path, error)
            with suppress(StoreError):
                quarantine(root, path, str(error))
            continue
        recalled[totals.session.id] = totals
        if path != totals_file(root, totals.session.id):
            remember(root, totals)  # of an earlier version, which could only have one
            _delete(path)
    return sorted(recalled.values(), key=lambda totals: totals.session.number)


def forget(root: StorageRoot, session: Session) -> None:
    """Forget the totals of a session that is closed."""
    _delete(totals_file(root, session.id))
    disk.sync_folder(root.state)


def _delete(path: Path) -> None:
    with disk_step("deleting", path):
        path.unlink(missing_ok=True)


def totals_file(root: StorageRoot, session: str) -> Path:
    """Return where the totals of a session are kept."""
    return root.state / f"{PREFIX}-{session}.json"


def close_session(
    root: StorageRoot,
    totals: Totals,
    frames: int,
    end: Stamp,
    end_reason: EndReason,
    *,
    recovered: bool = False,
    find: Find = lambda key: None,
) -> FilePublished:
    """Publish the record that closes a session of `frames` frames, and forget its totals.

    May be interrupted anywhere and called again.

    Parameters
    ----------
    find
        See `find_record`.
    """
    missing = frames - totals.frames
    facts = SessionFacts(
        session=totals.session,
        sample_rate=totals.sample_rate,
        frames=frames,
        missing={"disk": missing} if missing else {},
        start=totals.start,
        end=end,
        end_reason=end_reason,
        files=totals.files,
        gaps=totals.gaps,
        recovered=recovered,
    )
    record = _publish_record(root, facts, find)
    forget(root, facts.session)
    return record


def find_record(
    root: StorageRoot, session: Session, start: Stamp, find: Find = lambda key: None
) -> Path | None:
    """Return the path of the record that closes a session; None if it does not exist (any more).

    Parameters
    ----------
    start
        Time at which the session began.
    find
        Searches all folders for the record. Called only if the wall clock was not trusted when
        the session began, because the time in the name may be another one.
    """
    record = sidecar_path(root.ready, session.kiosk, start.utc_ns, _key(session))
    if disk.is_there(record):
        return record
    return None if start.utc_trusted else find(_key(session))


def _publish_record(root: StorageRoot, facts: SessionFacts, find: Find) -> FilePublished:
    session, start = facts.session, facts.start
    record = find_record(root, session, start, find)
    if record is None:
        record = sidecar_path(root.ready, session.kiosk, start.utc_ns, _key(session))
        _delete(root.work / record.name)  # a draft, left by one that was interrupted
        folder = root.make_folders(*partition(session.kiosk, start.utc_ns))
        publish(None, encode(describe_session(facts)), root.work, folder, record.stem)
    return FilePublished(
        path=record,
        sidecar=record,
        session=session.id,
        kind="session",
        what="session",
        sequence=0,
        start_frame=TimelineFrame(0),
        frames=facts.frames,
        end_reason=facts.end_reason,
    )


def _key(session: Session) -> FileKey:
    return FileKey(session.id, 0, "session")
