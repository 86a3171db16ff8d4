"""Amount of captured audio that is not durable yet, from frame counts alone.

Needs no step of the writer thread to succeed, so it stays correct while that thread is blocked in a
call of a disk that does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TimelineFrame
from edgerec.session.timeline import SessionTimeline

USUAL_LAG_S: Final = 5.0
"""Lag of a healthy writer beyond `storage.sync_seconds`: a step takes up to 2.4 s, and a memory
card that collects garbage stalls for a second or two."""


@dataclass(frozen=True, slots=True)
class WritingProgress:
    """Progress of the writer thread with one session."""

    timeline: SessionTimeline | None = None
    """The session; None: none is being written."""
    written: int = 0
    """Every frame before it is in a file; after a failure, only those that are durable count."""
    durable: int = 0
    """Every frame before it survives a power cut, or is declared lost."""
    lost_frames: int = 0
    """Frames of the session declared lost to the disk."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Captured audio that is not durable, of all sessions that are not completely written."""

    lag_s: float = 0.0
    """Length of that audio, in seconds."""
    waits_since_ns: int | None = None
    """Instant of its first frame on CLOCK_MONOTONIC; None: all is durable."""
    lost_frames: int = 0
    """Frames that no file holds or will hold, declared or already overwritten in memory."""
    losing: bool = False
    """Whether frames that no file holds are being overwritten, or dropped for lack of memory."""


def backlog_of(unwritten: Sequence[SessionTimeline], progress: WritingProgress) -> Backlog:
    """Return what the sessions that are not completely written have captured and not made durable.

    Parameters
    ----------
    unwritten
        In order of their start; read after `progress`, so that a session that is missing in
        `progress` has only just begun to be written.
    """
    lag_s, lost_frames, losing = 0.0, 0, False
    waits_since_ns = None
    for timeline in unwritten:
        of_this = progress if timeline is progress.timeline else WritingProgress()
        pending = timeline.history.committed - of_this.durable
        overwritten = max(timeline.history.oldest - of_this.written, 0)
        if pending > 0 and waits_since_ns is None:
            waits_since_ns = timeline.stamp_of(TimelineFrame(of_this.durable)).monotonic_ns
        lag_s += max(pending, 0) / timeline.rate
        lost_frames += of_this.lost_frames + overwritten
        losing = losing or overwritten > 0
    return Backlog(
        lag_s, waits_since_ns, lost_frames if unwritten else progress.lost_frames, losing
    )
