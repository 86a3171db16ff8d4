"""Reports a session as events: its begin and end, and each gap once, when that is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame
from edgerec.session.events import Event, GapFound, RecordingStarted, RecordingStopped
from edgerec.session.timeline import SessionTimeline
from edgerec.store.records.naming import Session
from edgerec.store.records.sidecar import EndReason

MAX_TOLD: Final = 50
"""Maximum number of gap events per span and track. A device that loses frames every millisecond
shows in the sidecars; its events would crowd out everything else."""


class RecordingEvents:
    """Follows what is written of one session, from its begin on; for the writer thread."""

    def __init__(
        self, session: Session, timeline: SessionTimeline, publish: Callable[[Event], None]
    ) -> None:
        self._session = session
        self._publish = publish
        start = timeline.stamp_of(TimelineFrame(0))
        publish(
            RecordingStarted(
                session.id, session.number, session.kiosk, timeline.rate, start.monotonic_ns
            )
        )
        self._position = TimelineFrame(0)
        self._open = [(TimelineFrame(0), int(GapReason.QUIET)) for _ in TRACKS]

    def watch(self, span: Span) -> None:
        """Take in what comes next; what has been seen is skipped."""
        if span.start > self._position:
            self._lost(span.start)
        seen = min(self._position - span.start, span.frames)
        self._position = TimelineFrame(span.start + span.frames)
        for index in range(len(TRACKS)):
            self._follow(index, span.start + seen, span.reasons[index, seen:])

    def finish(self, stop: TimelineFrame, reason: EndReason) -> None:
        """Report the gaps that reach up to the session's end, and the end."""
        if stop > self._position:
            self._lost(stop)
        for index in range(len(TRACKS)):
            self._close(index, stop, GapReason.QUIET)
        self._publish(RecordingStopped(self._session.id, self._session.number, stop, reason))

    def _lost(self, stop: TimelineFrame) -> None:
        for index in range(len(TRACKS)):
            self._close(index, self._position, GapReason.QUIET)
        missing = stop - self._position
        self._publish(GapFound(self._session.id, None, self._position, missing, "disk"))
        self._position = stop

    def _follow(self, index: int, start: int, reasons: NDArray[np.uint8]) -> None:
        _, reason = self._open[index]
        if not np.any(reasons != reason):
            return
        edges = np.flatnonzero(np.diff(reasons, prepend=np.uint8(reason)))
        for told, edge in enumerate(edges):
            announced = told < MAX_TOLD or edge == edges[-1]
            self._close(
                index, TimelineFrame(start + int(edge)), int(reasons[edge]), announced=announced
            )

    def _close(
        self, index: int, frame: TimelineFrame, next_reason: int, *, announced: bool = True
    ) -> None:
        start, reason = self._open[index]
        self._open[index] = frame, next_reason
        if announced and reason not in (GapReason.QUIET, GapReason.OFF) and frame > start:
            why = GapReason(reason).label
            self._publish(GapFound(self._session.id, TRACKS[index], start, frame - start, why))
