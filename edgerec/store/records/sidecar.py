"""The JSON sidecar of a published file, and the record that closes a session.

Names and meanings are the outside contract, schema `edgerec/1`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgerec.audio import TRACKS, Gap, GapReason, Stamp, TimelineFrame, TrackName, TrackReport
from edgerec.store.records.gap_map import Levels
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Form, Session, What, utc_text
from edgerec.version import __version__

SCHEMA: Final = "edgerec/1"
SOFTWARE: Final = f"edgerec {__version__}"

Kind = Literal["chunk", "track", "turn", "session"]
EndReason = Literal["full", "turn", "rotate", "stop", "pause", "reload", "suspend", "disk", "crash"]
Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """Facts about one track of one file."""

    report: TrackReport
    """Report on the track as of the file's end."""
    late_frames: int
    """Number of frames that came too late for this file."""
    refused_frames: int
    """Number of frames that were pushed into a feed and refused while it was written."""
    gaps: tuple[Gap, ...]
    levels: Levels


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """Facts about the turn that a file holds."""

    speaker: TrackName
    number: int
    part: int
    """Number of the turn's files before this one."""
    speech_start: TimelineFrame
    speech_end: TimelineFrame
    by: Literal["vad", "mark"]
    interrupted: bool
    exchange: int | None = None
    """Number of the exchange that the turn belongs to, from 1; None: of an older version."""

    def within(self, start: TimelineFrame, stop: TimelineFrame) -> TurnFacts:
        """Return the facts with only the speech that a file of these frames can hold."""
        speech_start = min(max(self.speech_start, start), stop)
        speech_end = min(max(self.speech_end, speech_start), stop)
        return replace(self, speech_start=speech_start, speech_end=speech_end)


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """Facts about one finished chunk or turn, common to all its files."""

    session: Session
    sequence: int
    layout: Layout
    start: TimelineFrame
    frames: int
    missing_before: int
    """Number of frames before `start` that no file holds."""
    stamp: Stamp
    """Time of `start`."""
    end_reason: EndReason
    tracks: Mapping[TrackName, TrackFacts]
    recovered: bool = False
    """Whether it was put together after a crash."""
    turn: TurnFacts | None = None
    """Facts of the turn; None for a chunk."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size, format and checksum of one file on the disk."""

    name: str
    form: Form
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class GapTotal:
    """All gaps of one track for one reason."""

    count: int = 0
    frames: int = 0

    def plus(self, gap: Gap) -> GapTotal:
        """Return the total with one gap more."""
        return GapTotal(self.count + 1, self.frames + gap.frames)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Facts about a session when it ends."""

    session: Session
    sample_rate: int
    frames: int
    """Number of frames from the epoch to the end, missing ones included."""
    missing: Mapping[str, int]
    """Number of frames that no file holds, by reason."""
    start: Stamp
    end: Stamp
    end_reason: EndReason
    files: Mapping[What, int]
    """Number of published files of each kind."""
    gaps: Mapping[TrackName, Mapping[GapReason, GapTotal]]
    recovered: bool = False


def kind_of(what: What) -> Kind:
    """Return the `kind` of a file by what its name says it holds."""
    if what in ("chunk", "session"):
        return what
    return "turn" if what.startswith("turn-") else "track"


def describe_file(facts: ChunkFacts, what: What, file: FileFacts) -> Json:
    """Return the sidecar of one audio file of a chunk."""
    channels = facts.layout.channels(what)
    return {
        **_whose(kind_of(what), facts.session, facts.sequence),
        "file": file.name,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "format": {
            "container": file.form.container,
            "codec": file.form.codec,
            "sample_rate": facts.layout.sample_rate,
            "channels": list(channels),
        },
        "start_frame": facts.start,
        "frames": facts.frames,
        "missing_before": facts.missing_before,
        **_when(facts.stamp),
        "end_reason": facts.end_reason,
        "recovered": facts.recovered,
        "tracks": {
            track: _track(track_facts, _latency(facts.layout, track))
            for track, track_facts in facts.tracks.items()
            if what not in TRACKS or what == track
        },
        "turn": None if facts.turn is None else _turn(facts.turn),
        "software": SOFTWARE,
    }


def describe_session(facts: SessionFacts) -> Json:
    """Return the record that closes a session."""
    end = _when(facts.end)
    return {
        **_whose("session", facts.session, 0),
        "previous_session": facts.session.previous,
        "sample_rate": facts.sample_rate,
        "start_frame": 0,
        "frames": facts.frames,
        **_when(facts.start),
        "end": {"ended_at": end.pop("started_at"), **end},
        "end_reason": facts.end_reason,
        "recovered": facts.recovered,
        "files": dict(facts.files),
        "tracks": {
            track: {
                "gaps": {
                    reason.label: {"count": total.count, "frames": total.frames}
                    for reason, total in totals.items()
                }
            }
            for track, totals in facts.gaps.items()
        },
        "losses": dict(facts.missing),
        "software": SOFTWARE,
    }


def encode(sidecar: Json) -> bytes:
    """Return the JSON file's content: a line for each of its fields."""
    # Not json's own indent: that uses an encoder in Python, which leaves reference cycles.
    fields = (
        f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in sidecar.items()
    )
    text = "{" + ",\n ".join(fields) + "}\n"
    # A name that is not valid text must not keep the audio beside it from being published.
    return text.encode("utf-8", "backslashreplace")


def _whose(kind: Kind, session: Session, sequence: int) -> Json:
    return {
        "schema": SCHEMA,
        "kind": kind,
        "kiosk": session.kiosk,
        "session": session.id,
        "session_number": session.number,
        "sequence": sequence,
    }


def _when(stamp: Stamp) -> Json:
    return {
        "started_at": utc_text(stamp.utc_ns),
        "utc_trusted": stamp.utc_trusted,
        "utc_error_ms": stamp.utc_error_ms,
        "monotonic_ns": stamp.monotonic_ns,
        "boot_id": stamp.boot_id,
    }


def _turn(facts: TurnFacts) -> Json:
    return {
        "speaker": facts.speaker,
        "number": facts.number,
        "exchange": facts.exchange,
        "part": facts.part,
        "speech_start_frame": facts.speech_start,
        "speech_end_frame": facts.speech_end,
        "by": facts.by,
        "interrupted": facts.interrupted,
    }


def _latency(layout: Layout, track: TrackName) -> Json:
    source = layout.latency_source.get(track, "unknown")
    return {"value": layout.latency_ms.get(track), "source": source}


def _track(facts: TrackFacts, latency: Json) -> Json:
    return {
        "device": facts.report.device,
        "drift_ppm": facts.report.drift_ppm,
        "residual_us": facts.report.residual_us,
        "echo_delay_ms": facts.report.echo.delay_ms,
        "echo_return_db": facts.report.echo.return_db,
        "latency_ms": latency,
        "late_frames": facts.late_frames,
        "refused_frames": facts.refused_frames,
        "gaps": [
            {"start_frame": gap.start, "frames": gap.frames, "reason": gap.reason.label}
            for gap in facts.gaps
        ],
        "peak_dbfs": facts.levels.peak_dbfs,
        "rms_dbfs": facts.levels.rms_dbfs,
        "clipped": facts.levels.clipped,
    }
