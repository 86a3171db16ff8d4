"""Writes turn files from the turn board and the history: the writer thread's second half."""

from __future__ import annotations

import logging
from typing import Final

from edgerec.audio import TRACKS, TimelineFrame, TurnPart
from edgerec.session.timeline import SessionTimeline
from edgerec.session.turn_board import TurnBoard
from edgerec.store.writing.recording import Recording
from edgerec.store.writing.turn_files import TurnFiles
from edgerec.sync.history import OverrunError

log = logging.getLogger(__name__)

PIECE_S: Final = 2.0  # copied out of history at once; bounds the thread's own memory
PATIENCE_S: Final = 10.0  # at a session's end, for the turn thread to process all of it


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
