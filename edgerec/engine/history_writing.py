"""Writes the history to the recording, cut where that is due: the writer thread's first half."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from edgerec.audio import Span, TimelineFrame
from edgerec.engine.turn_writing import PATIENCE_S, PIECE_S
from edgerec.session.timeline import SessionTimeline
from edgerec.store.writing.recording import Recording
from edgerec.sync.history import OverrunError

log = logging.getLogger(__name__)

CATCH_UP_S: Final = 1.0  # given up beyond what is lost, or the ring laps the writer again


def write_committed(
    recording: Recording,
    timeline: SessionTimeline,
    on_span: Callable[[Span], None] = lambda span: None,
    *,
    last: bool = False,
) -> None:
    """Write what is committed and not yet written, in pieces, and make the cuts that are due.

    Frames that the ring no longer holds are skipped, and so declared as lost to the disk. Those for
    which the speech gate is undecided are left for the next call.

    Parameters
    ----------
    on_span
        Called with what was written; after a disk failure with some of it again.
    last
        Whether nothing follows: then leave nothing, once the session's end is decided.
    """
    committed = timeline.history.committed  # before the cuts: those up to it are all there
    if timeline.gate is not None:
        if not last:
            committed = timeline.gate.writable(committed)
        elif timeline.turns is not None and timeline.stop is not None:
            timeline.turns.wait_complete(PATIENCE_S)
    while True:
        stop = min(committed, timeline.cuts[0].frame) if timeline.cuts else committed
        _write_up_to(recording, timeline, stop, on_span)
        if not timeline.cuts or timeline.cuts[0].frame > committed:
            return
        if recording.position == stop:  # else the frames around it are lost
            recording.rotate(timeline.cuts[0].reason)
        timeline.cuts.popleft()  # now that it is made


def _write_up_to(
    recording: Recording, timeline: SessionTimeline, stop: int, on_span: Callable[[Span], None]
) -> None:
    history = timeline.history
    piece = round(PIECE_S * timeline.rate)
    while (frames := min(stop - recording.position, piece)) > 0:
        start = recording.position
        try:
            span = history.read(start, frames)
        except OverrunError as overrun:
            # The ring speaks of the frames asked for only; more of them may be gone.
            gone = max(overrun.lost, history.committed - history.capacity - start)
            margin = round(CATCH_UP_S * timeline.rate)
            lost = min(gone + margin, history.committed - start)
            log.warning("disk too slow, frames are lost start=%d frames=%d", start, lost)
            recording.skip_to(TimelineFrame(start + lost))
        else:
            if timeline.gate is not None:
                span = timeline.gate.silenced(span)
            recording.write(span, timeline.known())
            on_span(span)
