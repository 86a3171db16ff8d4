"""The events that handlers receive: a frozen value for each, except for audio (`audio_data`).

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
"""Name of an event that a handler can be registered for."""


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """A session has begun; the first event of each session."""

    session: str
    """Id of the session, as in the names of its files."""
    session_number: int
    kiosk: str
    sample_rate: int
    """Sampling rate of everything written, in Hz."""
    monotonic_ns: int
    """Instant of the session's frame 0 on CLOCK_MONOTONIC (`time.monotonic_ns`)."""


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """A session is complete: all its files are published; the last event of each session."""

    session: str
    session_number: int
    frames: int
    """Length of the session in frames, missing ones included."""
    end_reason: EndReason


@dataclass(frozen=True, slots=True)
class GapFound:
    """Frames that are missing: silence in the files, or in no file at all."""

    session: str
    track: TrackName | None
    """Track of the gap; None: both tracks, in no file (the disk did not take them in time)."""
    start_frame: int
    frames: int
    reason: str
    """Reason of the gap, as in the sidecars (`xrun`, `stall`, `absent`, ...), or `disk`."""


@dataclass(frozen=True, slots=True)
class FilePublished:
    """A file has its final name: a chunk, a track, a turn, or the record of a session."""

    path: Path
    """Path of the file; for a session its record, which is a sidecar without audio."""
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
    """The new state. Of the recorder: `idle`, `waiting` (for the first device), `recording`,
    `paused`, `ending`; of a track: `starting`, `running`, `stalled`, `absent`, `idle`; of the disk:
    `ok`, `failing`; of the signal (muted, stuck, clipped, identical tracks): `ok`, `wrong`."""
    detail: str
