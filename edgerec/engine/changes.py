"""Compares two plans: what it takes for another configuration to apply while the service runs.

Most settings apply at once without affecting capture. Some belong to a session from its first frame
on: another session begins. Some belong to the process: they are refused and need a restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

from edgerec.audio import TRACKS, TrackName
from edgerec.config import Problem
from edgerec.engine.plan import Plan

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


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes from one plan to another."""

    paths: tuple[str, ...]
    """The settings that differ."""
    refused: tuple[Problem, ...]
    """Problems with those that can't change in a running service."""
    new_session: bool
    """Whether a session in progress ends, and another one begins."""
    sources: tuple[TrackName, ...]
    """The tracks whose source is opened again, or no longer."""


def changes_between(old: Plan, new: Plan) -> Changes:
    """Compare two plans."""
    paths = tuple(_differences(old.config, new.config, ""))
    fixed = RESTART if old.turns.speech_only == new.turns.speech_only else (*RESTART, *SPEECH_ONLY)
    return Changes(
        paths=paths,
        refused=tuple(
            Problem(path, "can't change while the service runs", "restart the service")
            for path in paths
            if any(path == place or path.startswith(f"{place}.") for place in fixed)
        ),
        new_session=old.session != new.session,
        sources=tuple(n for n in TRACKS if old.sources.get(n) != new.sources.get(n)),
    )


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if not is_dataclass(old):
        if old != new:
            yield path
        return
    for one in fields(old):
        below = f"{path}.{one.name}" if path else one.name
        yield from _differences(getattr(old, one.name), getattr(new, one.name), below)
