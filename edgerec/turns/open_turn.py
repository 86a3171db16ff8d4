"""A turn in progress: how it grows, and where its next part begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgerec.audio import TimelineFrame, TrackName, TurnEnd, TurnPart


@dataclass(frozen=True, slots=True)
class TurnRules:
    """Parameters of turns, all in timeline frames."""

    pre_roll: int
    """Number of frames kept before speech."""
    hangover: int
    """Length of the silence that ends a turn; shorter pauses belong to it."""
    min_speech: int
    """Least length of speech that is a turn."""
    max_turn: int
    """Length of the longest part; a longer turn has several."""

    def __post_init__(self) -> None:
        """Refuse lengths with which no turn could begin or end."""
        if self.pre_roll < 0 or min(self.hangover, self.min_speech, self.max_turn) < 1:
            raise ValueError(f"{self} has a length below 1 frame")
        if self.pre_roll >= self.max_turn:
            raise ValueError(f"{self} has parts that are full before anybody speaks")


class GrowingTurn:
    """One turn from its beginning to its end.

    Parameters
    ----------
    first
        Its first part, as it begins.
    max_frames
        Maximum length of a part.
    """

    def __init__(self, first: TurnPart, max_frames: int) -> None:
        self._part = first
        self._max_frames = max_frames

    @property
    def part(self) -> TurnPart:
        """The part in progress."""
        return self._part

    @property
    def full(self) -> TimelineFrame:
        """The frame at which the part in progress is full."""
        return TimelineFrame(self._part.start + self._max_frames)

    def speak(self, start: TimelineFrame, stop: TimelineFrame) -> list[TurnPart]:
        """Continue with speech in [start, stop); return the parts that this fills.

        A further part begins with speech only, though right after the previous part: a pause that
        ends the turn makes none.
        """
        done = []
        while stop > self.full:
            part, full = self._part, self.full
            heard = full if start < full else part.speech_end
            done.append(replace(part, stop=full, speech_end=heard, ended="full"))
            start = max(start, full)
            self._part = replace(
                part,
                part=part.part + 1,
                start=full,
                stop=full,
                speech_start=start,
                speech_end=start,
            )
        self._part = replace(self._part, stop=stop, speech_end=stop)
        return done

    def pause(self, stop: TimelineFrame) -> None:
        """Continue without speech up to `stop`, as far as the part has room."""
        stop = min(stop, self.full)
        self._part = replace(self._part, stop=max(stop, self._part.stop))

    def hush(self, frame: TimelineFrame) -> None:
        """Assume that nobody has spoken after `frame`, as far as this part reaches."""
        part = self._part
        heard = max(part.speech_start, min(frame, part.speech_end))
        self._part = replace(part, speech_end=heard)

    def end(self, stop: TimelineFrame, why: TurnEnd) -> TurnPart:
        """End at `stop`, or at what belongs to it already; return its last part."""
        self.pause(stop)
        return replace(self._part, ended=why)


def begin_turn(
    speaker: TrackName,
    number: int,
    start: TimelineFrame,
    speech_start: TimelineFrame,
    by: Literal["vad", "mark"],
    rules: TurnRules,
) -> GrowingTurn:
    """Return a turn that is still empty, without even its pre-roll."""
    first = TurnPart(
        speaker=speaker,
        number=number,
        part=0,
        start=start,
        stop=start,
        speech_start=speech_start,
        speech_end=speech_start,
        by=by,
    )
    return GrowingTurn(first, rules.max_turn)
