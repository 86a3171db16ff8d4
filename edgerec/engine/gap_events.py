"""Reports a session's gaps as events, each once, when its end is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame
from edgerec.session.events import Event, GapFound

MAX_TOLD: Final = 50
"""Maximum number of gap events per span and track. A device that loses frames every millisecond
shows in the sidecars; its events would crowd out everything else."""


class GapWatch:
    """Follows what is written of one session; for the writer thread."""

    def __init__(self, session: str, publish: Callable[[Event], None]) -> None:
        self._session = session
        self._publish = publish
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

    def finish(self, stop: TimelineFrame) -> None:
        """Report the gaps that reach up to the session's end."""
        if stop > self._position:
            self._lost(stop)
        for index in range(len(TRACKS)):
            self._close(index, stop, GapReason.QUIET)

    def _lost(self, stop: TimelineFrame) -> None:
        for index in range(len(TRACKS)):
            self._close(index, self._position, GapReason.QUIET)
        missing = stop - self._position
        self._publish(GapFound(self._session, None, self._position, missing, "disk"))
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
            self._publish(GapFound(self._session, TRACKS[index], start, frame - start, why))
