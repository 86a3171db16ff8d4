"""What has the session published so far, so that it can be closed, even after a crash?

The totals are of fixed size. They are in `.state/` while a session goes on, and brought up to date
before the journal of a published chunk is deleted: a chunk whose journal is there may be counted
or not, and its sequence number says which.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgerec.audio import TRACKS, GapReason, Stamp, TimelineFrame, TrackName
from edgerec.store import disk
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.naming import FileKey, Session, What, partition, published_stem
from edgerec.store.publish import Published, delete_drafts, find_sidecar, publish
from edgerec.store.root import StorageRoot
from edgerec.store.sidecar import (
    ChunkFacts,
    EndReason,
    GapTotal,
    SessionFacts,
    describe_session,
    encode,
)

FILE: Final = "open-session.json"
EPOCH: Final = TimelineFrame(0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Totals:
    """A session, and what it has published."""

    session: Session
    sample_rate: int
    start: Stamp
    """Of its first frame, as the clocks were known then."""
    stop: TimelineFrame = EPOCH
    """Behind the last frame that was published."""
    frames: int = 0
    """Of the chunks that were published; the others before `stop` are missing."""
    next_sequence: Mapping[What, int] = field(default_factory=dict)
    """Chunks, and turns of each speaker, from this number on are not counted."""
    files: Mapping[What, int] = field(default_factory=dict)
    gaps: Mapping[TrackName, Mapping[GapReason, GapTotal]] = field(
        default_factory=lambda: {track: {} for track in TRACKS}
    )

    def counts(self, facts: ChunkFacts) -> bool:
        """Whether a chunk or turn is among what was counted, or of another session."""
        known = self.next_sequence.get(facts.layout.main, 0)
        return facts.session.id != self.session.id or facts.sequence < known

    def plus(self, facts: ChunkFacts, files: Mapping[What, object]) -> Totals:
        """Return the totals with one chunk or turn more, of which these files were published."""
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
    """Keep the totals of the session that goes on, durably."""
    disk.replace(root.state / FILE, json.dumps(asdict(totals)).encode() + b"\n")


def recall(root: StorageRoot) -> Totals | None:
    """Return the totals of a session that was never closed; None if the last one was.

    What can't be understood goes to quarantine: its loss costs a closing record.
    """
    path = root.state / FILE
    try:
        with disk_step("reading", path):
            text = path.read_bytes()
        return _parse(json.loads(text))
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = root.quarantine / f"{FILE}.{secrets.token_hex(4)}"
        disk.move(path, aside)
        _log.warning("totals of a session are malformed path=%s error=%r", aside, error)
        return None


def forget(root: StorageRoot) -> None:
    """Forget the totals of a session that is closed."""
    path = root.state / FILE
    with disk_step("deleting", path):
        path.unlink(missing_ok=True)
    disk.sync_folder(root.state)


def close_session(
    root: StorageRoot,
    totals: Totals,
    frames: int,
    end: Stamp,
    end_reason: EndReason,
    *,
    recovered: bool = False,
) -> Published:
    """Publish the record that closes a session of so many frames, and forget its totals.

    Can be interrupted anywhere, and done again.
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
    record = _publish_record(root, facts)
    forget(root)
    return record


def find_record(root: StorageRoot, session: Session) -> Path | None:
    """Return the record that closes a session; None if it is not there (any more)."""
    return find_sidecar(root.ready, _key(session))


def _publish_record(root: StorageRoot, facts: SessionFacts) -> Published:
    session, start = facts.session, facts.start
    record = find_record(root, session)
    if record is None:
        delete_drafts(root.work, _key(session))
        folder = disk.make_folders(root.ready, *partition(session.kiosk, start.utc_ns))
        stem = published_stem(start.utc_ns, _key(session))
        record = publish(None, encode(describe_session(facts)), root.work, folder, stem)
    return Published(
        path=record,
        sidecar=record,
        session=session.id,
        kind="session",
        what="session",
        sequence=0,
        start=TimelineFrame(0),
        frames=facts.frames,
        end_reason=facts.end_reason,
    )


def _key(session: Session) -> FileKey:
    return FileKey(session.id, 0, "session")


def _parse(fields: Mapping[str, Any]) -> Totals:
    return Totals(
        session=Session(**fields["session"]),
        sample_rate=int(fields["sample_rate"]),
        start=Stamp(**fields["start"]),
        stop=TimelineFrame(int(fields["stop"])),
        frames=int(fields["frames"]),
        next_sequence=dict(fields["next_sequence"]),
        files=fields["files"],
        gaps={
            track: {
                GapReason(int(reason)): GapTotal(**total)
                for reason, total in fields["gaps"][track].items()
            }
            for track in TRACKS
        },
    )
