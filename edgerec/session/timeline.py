"""The state that the threads of one session share: its history, its clocks, its end."""

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
