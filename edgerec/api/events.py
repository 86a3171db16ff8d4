"""What is a handler told: one frozen value per event, but for audio (`audio_data`).

Frames are counted at the recording's rate from the session's frame 0 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgerec.audio import TrackName
from edgerec.store.records.sidecar import EndReason, Kind

EventName = Literal[
    "on_audio_data",
    "on_track_audio_data",
    "on_user_turn_audio_data",
    "on_bot_turn_audio_data",
    "on_recording_started",
    "on_recording_stopped",
    "on_gap",
    "on_published",
    "on_state",
]
"""What a handler can be registered for."""


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """A session has begun; nothing else is told of it before this."""

    session: str
    """Its id, as in the names of its files."""
    session_number: int
    kiosk: str
    sample_rate: int
    """Of everything written, in Hz."""
    monotonic_ns: int
    """Its frame 0 on CLOCK_MONOTONIC (`time.monotonic_ns`)."""


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """A session is complete: all its files are published, and were told of before this."""

    session: str
    session_number: int
    frames: int
    """Its length, missing frames included."""
    end_reason: EndReason


@dataclass(frozen=True, slots=True)
class GapFound:
    """Frames that are missing: silence in the files, or in no file at all."""

    session: str
    track: TrackName | None
    """None: both tracks, in no file (the disk did not take them in time)."""
    start_frame: int
    frames: int
    reason: str
    """As in the sidecars (`xrun`, `stall`, `absent`, ...), and `disk`."""


@dataclass(frozen=True, slots=True)
class FilePublished:
    """A file has its final name: a chunk, a track, a turn, or the record of a session."""

    path: Path
    """For a session its record, which is a sidecar without audio."""
    sidecar: Path
    kind: Kind
    sequence: int
    start_frame: int
    frames: int
    end_reason: EndReason


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The recorder, a track's source, the disk or the audio itself has another state."""

    of: Literal["recorder", "user", "bot", "disk", "signal"]
    state: str
    """Of the recorder: `idle`, `waiting` (for the first device), `recording`, `paused`, `ending`;
    of a track: `starting`, `running`, `stalled`, `absent`, `idle`; of the disk: `ok`, `failing`;
    of the signal (muted, stuck, clipped, twice the same): `ok`, `wrong`."""
    detail: str
