"""Determines what it takes for another configuration to apply while the service runs.

Most settings apply at once without affecting capture. Some belong to a session from its first frame
on: another session begins. Some belong to the process: they are refused and need a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Final

from edgerec.audio import TRACKS, TrackName
from edgerec.config.problems import Problem
from edgerec.config.schema import Config

RESTART: Final = (
    "recording.enable_turn_audio",
    "storage.root",
    "storage.require_mount",
    "storage.stall_seconds",
    "storage.trust_rtc",
    "control",
)
"""Sections and settings that only a restart can change."""
SPEECH_ONLY: Final = ("recording.user_continuous_stream", "tracks.user.source")
"""Settings that together decide whether speech is detected; a change of that needs a restart."""
NEW_SESSION: Final = (
    "kiosk_id",
    "recording.sample_rate",
    "recording.separate_tracks",
    "turns",
    "storage.sync_seconds",
)
"""Settings that hold for a whole session, such as its names, its rate, and which files it has."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes from one configuration to another."""

    paths: tuple[str, ...]
    """The settings that differ."""
    refused: tuple[Problem, ...]
    """Problems with those that can't change in a running service."""
    new_session: bool
    """Whether a session in progress ends, and another one begins."""
    sources: tuple[TrackName, ...]
    """The tracks whose source is reopened."""


def changes_between(old: Config, new: Config) -> Changes:
    """Compare two configurations, each of them valid."""
    paths = tuple(_differences(old, new, ""))
    refused = tuple(
        Problem(path, "can't change while the service runs", "restart the service")
        for path in paths
        if _is_in(path, RESTART)
        or (old.speech_only != new.speech_only and _is_in(path, SPEECH_ONLY))
    )
    return Changes(
        paths=paths,
        refused=refused,
        new_session=any(_is_in(path, NEW_SESSION) for path in paths),
        sources=tuple(name for name in TRACKS if _opening(old, name) != _opening(new, name)),
    )


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if not is_dataclass(old):
        if old != new:
            yield path
        return
    for one in fields(old):
        below = f"{path}.{one.name}" if path else one.name
        yield from _differences(getattr(old, one.name), getattr(new, one.name), below)


def _is_in(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def _opening(config: Config, name: TrackName) -> object:
    """Return all settings that a track's source is opened with."""
    track = config.tracks.user if name == "user" else config.tracks.bot
    chooses = track.source == "portaudio" and track.block_ms is None
    short_blocks = config.short_blocks if chooses else None
    return replace(track, offset_ms=0, offset_source="configured"), short_blocks
