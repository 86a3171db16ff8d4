"""The interface of voice activity detectors, and the frames that they decide.

A `VoiceActivity` looks at both tracks together, because what the loudspeaker plays is heard by
the microphone too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgerec.audio import EchoReport, Span, TimelineFrame, TrackName


@dataclass(frozen=True, slots=True)
class Judged:
    """Frames [start, stop) of a track, all of them speech or all of them not."""

    track: TrackName
    start: TimelineFrame
    stop: TimelineFrame
    speech: bool


class VoiceActivity(Protocol):
    """Tells speech from everything else on all tracks; for one thread.

    What it returns for a track continues without a hole what it returned before, from frame 0 on.
    It may lag by half a second, and holds no more than that.
    """

    @property
    def echo(self) -> EchoReport:
        """The current estimate of the bot's echo in the microphone."""
        ...

    def push(self, span: Span) -> list[Judged]:
        """Take in the next frames, any number of them; return what is decided now."""
        ...

    def skip_to(self, frame: TimelineFrame) -> list[Judged]:
        """Skip the frames before `frame`: they are gone, and count as not speech."""
        ...

    def flush(self) -> list[Judged]:
        """Return what is still undecided: nothing follows."""
        ...
