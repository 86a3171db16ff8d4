"""Copies from a session's history to its recording: chunks, and the files of turns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from edgerec.audio import TRACKS, Span, TimelineFrame, TurnPart
from edgerec.session.timeline import SessionTimeline
from edgerec.session.turn_board import TurnBoard
from edgerec.store.writing.recording import Recording
from edgerec.store.writing.turn_files import TurnFiles
from edgerec.sync.history import OverrunError

log = logging.getLogger(__name__)

CATCH_UP_S: Final = 1.0  # given up beyond what is lost, or the ring laps the writer again
PIECE_S: Final = 2.0  # copied out of history at once; bounds the thread's own memory
PATIENCE_S: Final = 10.0  # at a session's end, for the turn thread to process all of it


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


def write_turns(
    recording: Recording, timeline: SessionTimeline, board: TurnBoard, *, last: bool
) -> None:
    """Write what is known to belong to turns and not yet written.

    No further than the recording itself: what a turn holds, a chunk holds, too.

    Parameters
    ----------
    last
        Whether the session has ended: then wait a limited time until all its turns are known.

    Raises
    ------
    StoreError
        The disk fails; repeat the same call once the recording has been resumed.
    """
    if last and not board.wait_complete(PATIENCE_S):
        log.error("turns at the end of the session are lost, they were not found in time")
    if last and board.dropped:
        log.error("turns are lost, too many waited for the disk parts=%d", board.dropped)
    for speaker in TRACKS:
        files = recording.turns.get(speaker)
        for part in board.pending(speaker):
            if files is None:  # turns are looked for, but not written to files
                if part.ended is not None:
                    board.remove(part)
                continue
            _write_part(files, part, recording.position, timeline)
            if part.ended is None or recording.position < part.stop:
                break  # later parts come after it
            files.finish(part, timeline.known())
            board.remove(part)


def _write_part(
    files: TurnFiles, part: TurnPart, limit: TimelineFrame, timeline: SessionTimeline
) -> None:
    history = timeline.history
    piece = round(PIECE_S * timeline.rate)
    stop = min(part.stop, limit)
    while (frames := min(stop - files.position(part), piece)) > 0:
        start = files.position(part)
        try:
            span = history.read(start, frames)
        except OverrunError as overrun:
            lost = min(overrun.lost, frames)
            log.warning(
                "turn has a hole, it was written too late speaker=%s number=%d start=%d frames=%d",
                part.speaker,
                part.number,
                start,
                lost,
            )
            files.skip_to(TimelineFrame(start + lost), timeline.known())
        else:
            files.write(part, span, timeline.known())
