"""What do the threads of one session share: its history, its clocks, its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edgerec.audio import EchoReport, Stamp, StreamHeader, TimelineFrame, TrackName, TrackReport
from edgerec.session.speech_gate import SpeechGate
from edgerec.session.turn_board import TurnBoard
from edgerec.store.records.sidecar import EndReason
from edgerec.sync.history import History

MAX_CUTS: Final = 1000  # not yet made, while the disk stalls: eight a second for two minutes


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk ends before this frame, full or not."""

    frame: TimelineFrame
    reason: EndReason


@dataclass(slots=True)
class CurrentSession:
    """The session that is being recorded; written by the recorder thread, read by any."""

    timeline: SessionTimeline | None = None
    """None: no session is being recorded."""


@dataclass(slots=True)
class SessionTimeline:
    """One session, from the recorder thread that fills it to the writer thread that reads it.

    Every field is written by the recorder thread alone, each by one assignment; of `cuts`, which
    are in order, the writer thread takes off what is done.
    """

    rate: int
    """In Hz."""
    history: History
    stamp_of: Callable[[TimelineFrame], Stamp]
    reports: Mapping[TrackName, TrackReport]
    """What was known of each track at the last commit."""
    stop: TimelineFrame | None = None
    """Where the session ends; None while it goes on."""
    turns: TurnBoard | None = None
    """What is known of its turns; None: nobody looks for any."""
    gate: SpeechGate | None = None
    """What is recorded of its user; None: all."""
    end_reason: EndReason = "stop"
    cuts: deque[Cut] = field(default_factory=deque)
    echo: EchoReport = field(default_factory=EchoReport)
    """Of the bot in the microphone; of all fields the one that is not the recorder thread's."""
    mixed: TimelineFrame = field(default=TimelineFrame(0))
    """Who listens to the mix was told of all before this frame."""
    mix_header: StreamHeader = field(init=False)
    """Of the stream that the mix is to who listens."""

    def __post_init__(self) -> None:
        """Make up what the mix is announced as, once for all who listen."""
        self.mix_header = StreamHeader(self.rate, 1, "mix", "edgerec", "monotonic_raw")

    def known(self) -> dict[TrackName, TrackReport]:
        """Return what is known of each track now; for any thread."""
        known = dict(self.reports)
        if "user" in known:
            known["user"] = replace(known["user"], echo=self.echo)
        return known

    def cut(self, frame: int, reason: EndReason) -> None:
        """Have a chunk end before a frame that is not committed yet; for the recorder thread.

        While a disk stalls that long, chunks may end elsewhere: no more than `MAX_CUTS` wait.
        """
        if len(self.cuts) < MAX_CUTS:
            self.cuts.append(Cut(TimelineFrame(frame), reason))
