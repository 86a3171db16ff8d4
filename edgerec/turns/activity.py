"""Who speaks at which frame: what the detectors say, and what they have in common.

A `VoiceActivity` looks at both tracks together, because what the loudspeaker plays is heard by
the microphone too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgerec.audio import EchoReport, Span, TimelineFrame, TrackName


@dataclass(frozen=True, slots=True)
class Judged:
    """Frames [start, stop) of a track that are all speech, or all none."""

    track: TrackName
    start: TimelineFrame
    stop: TimelineFrame
    speech: bool


class VoiceActivity(Protocol):
    """Tells speech from everything else on all tracks; for one thread.

    What it returns for a track follows without a hole on what it returned before, from frame 0
    on. It may lag behind what it was given by half a second, and holds no more than that.
    """

    @property
    def echo(self) -> EchoReport:
        """What is known of the bot's echo in the microphone, by now."""
        ...

    def push(self, span: Span) -> list[Judged]:
        """Take in the next frames, any number of them; return what is decided now."""
        ...

    def skip_to(self, frame: TimelineFrame) -> list[Judged]:
        """Do without the frames before `frame`: they are gone, and no speech."""
        ...

    def flush(self) -> list[Judged]:
        """Return what is still undecided: nothing follows."""
        ...
