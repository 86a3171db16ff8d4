"""Both speakers' turns and exchanges, numbered as they begin, with who interrupted whom.

An exchange is what the user says, and the bot's answer: the next one begins when the user begins a
turn and the bot has spoken since the exchange began. A bot that speaks first begins the first one.

A speaker's detector counts until an application marks one of that speaker's turns. From then on
only marks do, and a detected turn in progress ends there.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import TRACKS, TimelineFrame, TrackName, TurnPart
from edgerec.turns.marks import Mark, MarkedTurns
from edgerec.turns.segmenter import Judged, Segmenter, TurnRules

REMEMBERED: Final = 32  # beginnings of user turns; a bot can be interrupted by the last few only


@dataclass(frozen=True, slots=True)
class BotTurn:
    """A finished turn of the bot, for which it is still open whether the user interrupted it."""

    last: TurnPart
    began: TimelineFrame
    """Start of its speech."""


class TurnTracker:
    """The turns of a session; for one thread.

    Parameters
    ----------
    yields
        How many frames after the user began to speak a bot falls silent that is interrupted.
    """

    def __init__(self, rules: TurnRules, yields: int) -> None:
        self._rules = rules
        self._yields = yields
        self._next_number = itertools.count(1).__next__
        self._speakers: dict[TrackName, Segmenter | MarkedTurns] = {
            track: Segmenter(track, rules, self._next_number) for track in TRACKS
        }
        self._user_began: deque[TimelineFrame] = deque(maxlen=REMEMBERED)
        self._number: dict[TrackName, int] = dict.fromkeys(TRACKS, 0)  # of the latest turn
        self._exchange: dict[TrackName, int] = dict.fromkeys(TRACKS, 1)  # of the same
        self._bot_answered = False  # in the exchange in progress
        self._bot_began = TimelineFrame(0)
        self._held: list[BotTurn] = []

    def decided(self, track: TrackName) -> TimelineFrame:
        """The frame before which every turn of the speaker is known."""
        return self._speakers[track].decided

    def push(self, judged: Iterable[Judged]) -> list[TurnPart]:
        """Take in the next decisions; return the parts that they change."""
        parts = [part for one in judged for part in self._speakers[one.track].push(one)]
        return self._settled(parts)

    def mark(
        self, track: TrackName, frame: TimelineFrame, oldest: TimelineFrame, *, speaking: bool
    ) -> list[TurnPart]:
        """Take in that a speaker has the turn from `frame` on, or no longer has it.

        Parameters
        ----------
        oldest
            No turn begins before it: the audio is gone, or written as silence.

        Raises
        ------
        TooManyMarksError
            The mark is in the future, and too many such marks are waiting.
        """
        parts: list[TurnPart] = []
        speaker = self._speakers[track]
        if isinstance(speaker, Segmenter):
            parts = speaker.finish("turn")
            speaker = MarkedTurns(
                track, self._rules, self._next_number, position=speaker.position, free=speaker.free
            )
            self._speakers[track] = speaker
        return self._settled(parts + speaker.mark(Mark(frame, speaking), oldest))

    def cut(self, track: TrackName, frame: TimelineFrame) -> list[TurnPart]:
        """Take in that a speaker was cut off at a frame: the turn ends there, interrupted."""
        return self._settled(self._speakers[track].cut(frame))

    def finish(self) -> list[TurnPart]:
        """Return the last part of every turn in progress: nothing follows."""
        parts = [part for speaker in self._speakers.values() for part in speaker.finish()]
        return self._settled(parts)

    def _settled(self, parts: list[TurnPart]) -> list[TurnPart]:
        """Return the parts with interruptions filled in; a bot turn's end waits for them."""
        told = [self._noted(part) for part in parts]
        undecided = self._speakers["user"].undecided
        waiting = []
        for bot in self._held:
            if bot.last.interrupted:
                told.append(bot.last)
            elif undecided is not None and self._cuts(bot, undecided):
                waiting.append(bot)  # it depends on whether that becomes a turn
            else:
                cut = any(self._cuts(bot, began) for began in self._user_began)
                told.append(replace(bot.last, interrupted=cut))
        self._held = waiting
        return told

    def _noted(self, part: TurnPart) -> TurnPart:
        """Remember who began when; hold back that a bot turn has ended."""
        if part.number > self._number[part.speaker]:
            self._number[part.speaker] = part.number
            self._begun(part)
        part = replace(part, exchange=self._exchange[part.speaker])
        if part.speaker == "user" or part.ended in (None, "full"):
            return part
        self._held.append(BotTurn(part, self._bot_began))
        return replace(part, ended=None, interrupted=False)

    def _begun(self, part: TurnPart) -> None:
        """Take in that a turn has begun: in the exchange in progress, or in the next one."""
        exchange = max(self._exchange.values())
        if part.speaker == "bot":
            self._bot_began, self._bot_answered = part.speech_start, True
        else:
            self._user_began.append(part.speech_start)
            if self._bot_answered:
                exchange, self._bot_answered = exchange + 1, False
        self._exchange[part.speaker] = exchange

    def _cuts(self, bot: BotTurn, user_began: TimelineFrame) -> bool:
        ended = bot.last.speech_end
        return bot.began < user_began < ended and ended - user_began <= self._yields
