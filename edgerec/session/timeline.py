"""The timeline of a session, as its threads share it: history, clocks, end, listeners and backlog.

The recorder thread calls every listener in turn, so that none may wait. The backlog is counted from
frames alone: no step of the writer thread is needed, so that it stays correct while that thread is
blocked in a call of a disk that does not answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from edgerec.audio import (
    Delivery,
    EchoReport,
    Stamp,
    StreamHeader,
    TimelineFrame,
    TrackName,
    TrackReport,
)
from edgerec.session.turn_board import SpeechGate, TurnBoard
from edgerec.store.records.sidecar import EndReason
from edgerec.sync.history import History

MAX_CUTS: Final = 1000  # not yet made, while the disk stalls: eight a second for two minutes


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk ends before this frame, full or not."""

    frame: TimelineFrame
    reason: EndReason


@dataclass(slots=True)
class SessionTimeline:
    """One session, from the recorder thread that fills it to the writer thread that reads it.

    Every field is written by the recorder thread alone, each by one assignment, except where noted;
    from `cuts`, which are in order, the writer thread removes those that are done.
    """

    rate: int
    """Sampling rate of the timeline, in Hz."""
    history: History
    stamp_of: Callable[[TimelineFrame], Stamp]
    reports: Mapping[TrackName, TrackReport]
    """Report on each track as of the last commit."""
    stop: TimelineFrame | None = None
    """Frame at which the session ends; None while it is in progress."""
    turns: TurnBoard | None = None
    """Turns of the session; None: none are looked for."""
    gate: SpeechGate | None = None
    """Gate that decides which of the user's frames are recorded; None: all are."""
    end_reason: EndReason = "stop"
    cuts: deque[Cut] = field(default_factory=deque)
    echo: EchoReport = field(default_factory=EchoReport)
    """Echo of the bot in the microphone; the one field that the turn thread writes."""
    mixed: TimelineFrame = field(default=TimelineFrame(0))
    """Frame before which the mix was sent to its listeners."""
    mix_header: StreamHeader = field(init=False)
    """Header of the mix's stream for its listeners."""

    def __post_init__(self) -> None:
        """Make the header of the mix, once for all listeners."""
        self.mix_header = StreamHeader(self.rate, 1, "mix", "edgerec", "monotonic_raw")

    def known(self) -> dict[TrackName, TrackReport]:
        """Return the current report on each track; for any thread."""
        known = dict(self.reports)
        if "user" in known:
            known["user"] = replace(known["user"], echo=self.echo)
        return known

    def cut(self, frame: int, reason: EndReason) -> None:
        """End a chunk before a frame that is not committed yet; for the recorder thread.

        During a very long disk stall chunks may end elsewhere: at most `MAX_CUTS` wait.
        """
        if len(self.cuts) < MAX_CUTS:
            self.cuts.append(Cut(TimelineFrame(frame), reason))


class Listener:
    """Hears nothing; a subclass overrides what it wants to hear. Methods must not wait or raise."""

    @property
    def has_room(self) -> bool:
        """Whether another session may begin. For any thread."""
        return True

    @property
    def is_live(self) -> bool:
        """Whether audio is wanted as soon as it is delivered. For any thread."""
        return False

    def begun(self, timeline: SessionTimeline) -> None:
        """Take in that a session has begun."""

    def stopped(self, at_ns: int) -> None:
        """Take in that a session was asked to end at an instant, and none follows at once."""

    def delivered(self, track: TrackName, delivery: Delivery) -> None:
        """Take in what a device has delivered, whether or not a session is recorded."""

    def committed(self, timeline: SessionTimeline) -> None:
        """Take in that a session's timeline may be longer, or has ended."""

    def over(self) -> None:
        """Take in that nothing more is captured."""


class LiveReaders(Listener):
    """The live readers of a recorder that has none; `service.taps.Taps` is the one that has."""

    count: int = 0
    """Number of readers."""
    lost_blocks: int = 0
    """Blocks that found the queue full: readers see `first_frame` jump."""


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
