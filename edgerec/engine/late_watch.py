"""Reports audio that comes too late for its place as events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgerec.audio import TRACKS
from edgerec.session.events import AudioLate, Event
from edgerec.session.timeline import Listener, SessionTimeline

LATE_MS: Final = 1
"""Least that is reported: where one stream follows another, both may have a part of one frame."""


class LateWatch(Listener):
    """Follows how much of each track is late; for the recorder thread."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._told = dict.fromkeys(TRACKS, 0)

    def begun(self, timeline: SessionTimeline) -> None:
        """Count from 0 again."""
        self._told = dict.fromkeys(TRACKS, 0)

    def committed(self, timeline: SessionTimeline) -> None:
        """Report what has come late since the last report."""
        for track, told in self._told.items():
            late = timeline.reports[track].late_frames
            if late - told > timeline.rate * LATE_MS // 1000:
                self._told[track] = late
                self._publish(AudioLate(track, late - told, late))
