"""Turns of one speaker from a detector's decisions: pre-roll, hangover, minimum, maximum, pauses.

Pure arithmetic on frames, after auditok's tokenizer (Amine Sehili,
https://github.com/amsehili/auditok), except that a turn is reported while it is still in progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from edgerec.audio import EchoReport, Span, TimelineFrame, TrackName, TurnEnd, TurnPart


@dataclass(frozen=True, slots=True)
class Judged:
    """Frames [start, stop) of a track, all of them speech or all of them not."""

    track: TrackName
    start: TimelineFrame
    stop: TimelineFrame
    speech: bool


class VoiceActivity(Protocol):
    """Tells speech from everything else on all tracks; for one thread.

    It looks at both tracks together, as the microphone hears what the loudspeaker plays.
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """Speech that is not long enough yet to be a turn."""

    start: TimelineFrame
    stop: TimelineFrame
    speech: int
    """Number of frames of speech in it."""


class Segmenter:
    """The turns of one speaker; for one thread.

    Turns are in order and never overlap. A turn begins `pre_roll` before its speech, but not
    before the end of the previous turn, and ends `hangover` after it.

    Parameters
    ----------
    next_number
        Gives the next turn its number.
    """

    def __init__(
        self, speaker: TrackName, rules: TurnRules, next_number: Callable[[], int]
    ) -> None:
        self._speaker = speaker
        self._rules = rules
        self._next_number = next_number
        # Clicks that come every now and then must not add up to a turn: they are bridged over
        # pauses that are shorter than the speech they are to become.
        self._bridge = min(rules.min_speech, rules.hangover)
        self._position = TimelineFrame(0)
        self._free = TimelineFrame(0)  # after all turns so far
        self._candidate: Candidate | None = None
        self._turn: GrowingTurn | None = None
        self._cut: TimelineFrame | None = None  # where the speaker is cut off

    @property
    def position(self) -> TimelineFrame:
        """The next frame to be classified."""
        return self._position

    @property
    def free(self) -> TimelineFrame:
        """The frame after the last turn, once that has ended."""
        return self._free

    @property
    def undecided(self) -> TimelineFrame | None:
        """Start of speech that may still become a turn, or None."""
        return None if self._candidate is None else self._candidate.start

    @property
    def decided(self) -> TimelineFrame:
        """The frame before which every turn is known."""
        if self._turn is not None:
            return self._turn.part.stop
        speech = self._position if self.undecided is None else self.undecided
        return TimelineFrame(max(self._free, speech - self._rules.pre_roll))

    def push(self, judged: Judged) -> list[TurnPart]:
        """Take in the next decision; return the parts that it changes."""
        if judged.start != self._position:
            raise ValueError(f"a decision from frame {judged.start} on, not {self._position}")
        if self._cut is not None and self._cut <= judged.stop:
            cut, self._cut = self._cut, None
            before, after = replace(judged, stop=cut), replace(judged, start=cut)
            parts = [*self.push(before), *self.cut(cut)]
            return parts if cut == judged.stop else [*parts, *self.push(after)]
        self._position = judged.stop
        if judged.speech:
            return self._speech(judged)
        return self._pause(judged)

    def cut(self, frame: TimelineFrame) -> list[TurnPart]:
        """End the turn in progress where the speaker was cut off, or where it is after that."""
        if frame > self._position:
            self._cut = frame
            return []
        if self._turn is None:
            return []
        return [replace(self._end(self._turn.end(frame, "turn")), interrupted=True)]

    def finish(self, why: TurnEnd = "stop") -> list[TurnPart]:
        """End a turn in progress where it is; return its last part."""
        self._candidate = None
        if self._turn is None:
            return []
        return [self._end(self._turn.end(self._position, why))]

    def _speech(self, judged: Judged) -> list[TurnPart]:
        turn = self._turn
        start = judged.start
        if turn is None:
            before = self._candidate or Candidate(start, start, 0)
            speech = before.speech + judged.stop - start
            if speech < self._rules.min_speech:
                self._candidate = Candidate(before.start, judged.stop, speech)
                return []
            start = before.start
            turn = self._begin(start)
        return [*turn.speak(start, judged.stop), turn.part]

    def _begin(self, speech_start: TimelineFrame) -> GrowingTurn:
        start = TimelineFrame(max(self._free, speech_start - self._rules.pre_roll))
        self._candidate = None
        self._turn = begin_turn(
            self._speaker, self._next_number(), start, speech_start, "vad", self._rules
        )
        return self._turn

    def _pause(self, judged: Judged) -> list[TurnPart]:
        if self._turn is None:
            candidate = self._candidate
            if candidate is not None and judged.stop - candidate.stop >= self._bridge:
                self._candidate = None
            return []
        end = TimelineFrame(self._turn.part.speech_end + self._rules.hangover)
        if judged.stop >= end:
            return [self._end(self._turn.end(end, "turn"))]
        self._turn.pause(judged.stop)
        return [self._turn.part]

    def _end(self, last: TurnPart) -> TurnPart:
        self._free = last.stop
        self._turn = None
        return last
