"""Turns of one speaker from an application's marks, in whatever order the marks come.

Marks are obeyed, not trusted: a lost, late or contradictory one costs at most one turn.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import TimelineFrame, TrackName, TurnEnd, TurnPart
from edgerec.turns.segmenter import GrowingTurn, Judged, TurnRules, begin_turn

MAX_PENDING: Final = 64
"""Maximum number of marks of future frames; an application marks at most a few a second."""


class TooManyMarksError(Exception):
    """More marks of future frames than are kept."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A mark: from `frame` on the speaker has the turn, or no longer has it."""

    frame: TimelineFrame
    speaking: bool


class MarkedTurns:
    """The turns of one speaker between marks; for one thread.

    A turn whose stop is lost is ended by the next start, or where a part is full and nobody is
    heard speaking any more; a stop without a start changes nothing.

    Parameters
    ----------
    position
        The next frame to be classified.
    free
        The frame after all turns so far.
    """

    def __init__(
        self,
        speaker: TrackName,
        rules: TurnRules,
        next_number: Callable[[], int],
        *,
        position: TimelineFrame,
        free: TimelineFrame,
    ) -> None:
        self._speaker = speaker
        self._rules = rules
        self._next_number = next_number
        self._position = position
        self._free = free
        self._pending: list[Mark] = []
        self._turn: GrowingTurn | None = None
        self._started = TimelineFrame(0)  # the turn, as it was marked
        self._end: TimelineFrame | None = None  # after the hangover of a turn that was stopped
        self._cut: TimelineFrame | None = None  # where the speaker is cut off
        self._heard = TimelineFrame(0)  # after the last speech a detector has heard

    @property
    def undecided(self) -> TimelineFrame | None:
        """Always None: a marked turn is certain from its mark on."""
        return None

    @property
    def decided(self) -> TimelineFrame:
        """The frame before which turns are known, except for late marks."""
        if self._turn is not None:
            return self._turn.part.stop
        return TimelineFrame(max(self._free, self._position - self._rules.pre_roll))

    def mark(self, mark: Mark, oldest: TimelineFrame) -> list[TurnPart]:
        """Apply a mark, or keep it until its frame; return the parts that this changes.

        Parameters
        ----------
        oldest
            No turn begins before it: the audio is gone, or written as silence.

        Raises
        ------
        TooManyMarksError
            The mark is in the future, and too many such marks are waiting.
        """
        if mark.frame > self._position:
            if len(self._pending) == MAX_PENDING:
                raise TooManyMarksError(
                    f"{MAX_PENDING} marks of the {self._speaker} already wait for future frames"
                )
            bisect.insort(self._pending, mark)
            return []
        return self._apply(mark, oldest) + self._grow(self._position)

    def push(self, judged: Judged) -> list[TurnPart]:
        """Advance to where the detector is; return the parts that this changes."""
        if judged.speech:
            self._heard = judged.stop
        parts: list[TurnPart] = []
        if self._cut is not None and self._cut <= judged.stop:
            cut, self._cut = self._cut, None
            parts = self._advance(cut) + self.cut(cut)
        return parts + self._advance(judged.stop)

    def cut(self, frame: TimelineFrame) -> list[TurnPart]:
        """End the turn in progress where the speaker was cut off, or where it is after that."""
        if frame > self._position:
            self._cut = frame
            return []
        if self._turn is not None:
            self._turn.hush(frame)
        return [replace(part, interrupted=True) for part in self._close(frame, "turn")]

    def _advance(self, to: TimelineFrame) -> list[TurnPart]:
        """Advance to a frame, and apply the marks before it."""
        parts: list[TurnPart] = []
        while self._pending and self._pending[0].frame <= to:
            mark = self._pending.pop(0)
            parts += self._grow(mark.frame)
            parts += self._apply(mark, TimelineFrame(0))
        return parts + self._grow(to)

    def finish(self) -> list[TurnPart]:
        """Return the last part of a turn in progress: nothing follows."""
        return self._close(self._position, "stop")

    def _grow(self, to: TimelineFrame) -> list[TurnPart]:
        """Advance to a frame; a turn in progress grows, or ends before it."""
        self._position = max(self._position, to)
        turn = self._turn
        if turn is None:
            return []
        if self._end is not None:
            if self._end <= to:
                return self._close(self._end, "turn")
            turn.pause(to)
            return [turn.part]
        parts: list[TurnPart] = []
        while to > turn.full:
            if turn.full - self._heard >= self._rules.hangover:
                return parts + self._close(turn.full, "turn")  # its stop was lost
            parts += turn.speak(turn.part.speech_end, TimelineFrame(turn.full + 1))
        return [*parts, *turn.speak(turn.part.speech_end, to), turn.part]

    def _apply(self, mark: Mark, oldest: TimelineFrame) -> list[TurnPart]:
        return self._start(mark.frame, oldest) if mark.speaking else self._stop(mark.frame)

    def _start(self, frame: TimelineFrame, oldest: TimelineFrame) -> list[TurnPart]:
        parts: list[TurnPart] = []
        if self._turn is not None:
            if frame <= self._started:
                return []  # a repeated mark, or one of a turn that is over
            self._turn.hush(frame)
            parts = self._close(frame, "turn")
        start = TimelineFrame(max(self._free, frame - self._rules.pre_roll, oldest))
        speech_start = max(frame, start)
        self._turn = begin_turn(
            self._speaker, self._next_number(), start, speech_start, "mark", self._rules
        )
        self._started = frame
        return parts

    def _stop(self, frame: TimelineFrame) -> list[TurnPart]:
        if self._turn is not None and self._end is None and frame >= self._started:
            self._turn.hush(frame)
            self._end = TimelineFrame(frame + self._rules.hangover)
        return []

    def _close(self, stop: TimelineFrame, why: TurnEnd) -> list[TurnPart]:
        if self._turn is None:
            return []
        last = self._turn.end(stop, why)
        self._free = last.stop
        self._turn = self._end = None
        return [last]
