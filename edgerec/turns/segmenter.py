"""Turns of one speaker from a detector's decisions: pre-roll, hangover, minimum, maximum, pauses.

Pure arithmetic on frames, after auditok's tokenizer (Amine Sehili, https://github.com/amsehili/auditok),
except that a turn is reported while it is still in progress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgerec.audio import TimelineFrame, TrackName, TurnEnd, TurnPart
from edgerec.turns.activity import Judged
from edgerec.turns.open_turn import GrowingTurn, TurnRules, begin_turn


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
        self._position = judged.stop
        if judged.speech:
            return self._speech(judged)
        return self._pause(judged)

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
