"""When does the user speak? A cheap question of every frame wakes a dear one.

    microphone, bot -> echo.EchoPath -> presence.Presence -> neural.Silero, while it may be speech

Cost follows speech and not time: in a quiet room or steady noise the network sleeps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from edgerec.audio import EchoReport
from edgerec.turns.bands import FRAME, Samples
from edgerec.turns.echo import EchoPath
from edgerec.turns.presence import Presence

LOOKBACK: Final = 8
"""Frames for which a decision waits: speech begins where it became loud, not where it is sure."""

_PRESENT_DB: Final = 3.0  # white noise stays under 1.1 dB for ten minutes
_AWAKE: Final = (
    16  # frames that the judge listens on after the last loud one: a pause between words
)
_BEFORE: Final = 6  # frames that it hears first of what came before the loud one
_RECENT: Final = 8  # frames after a loud one in which it is believed: less than a second of tail
_ON: Final = 0.15  # of probability, for `_SURE` frames; measured, see docs/turns.md
_OFF: Final = 0.08
_SURE: Final = 5  # frames, 160 ms: an impact is over by then
_LIKELY: Final = 0.25  # of probability, which one of the frames must have that begin speech


class FrameJudge(Protocol):
    """Tells speech from noise, once it is known that there is something."""

    def probability(self, frame: Samples, excess_db: float, /) -> float:
        """Return how likely the next frame is speech, which stands out by `excess_db`."""
        ...


@dataclass(slots=True)
class _Frame:
    """A frame of which it may still turn out that it was speech."""

    loud: bool
    speech: bool


class AnyLoudness:
    """Believes that whatever is loud enough is speech."""

    def probability(self, _frame: Samples, excess_db: float, /) -> float:
        """Return certainty either way."""
        return float(excess_db > _PRESENT_DB)


class UserDetector:
    """Frame by frame; what it returns is `LOOKBACK` frames late."""

    def __init__(self, judge: FrameJudge) -> None:
        self._judge = judge
        self._echo = EchoPath()
        self._presence = Presence()
        self._before: deque[Samples] = deque(maxlen=_BEFORE)
        self._pending: deque[_Frame] = deque()
        self._awake = 0
        self._quiet = _RECENT
        self._probable = 0  # frames, up to now
        self._likeliest = 0.0  # of these
        self._speaks = False

    @property
    def echo(self) -> EchoReport:
        """What is known of the bot's echo in the microphone."""
        return self._echo.report

    def push(self, played: Samples, heard: Samples) -> list[bool]:
        """Take in frames of both tracks; return for as many earlier ones whether it was speech."""
        parts = self._echo.cancel(played, heard)
        excess = self._presence.excess_db(parts, locked=self._echo.locked)
        decided = []
        for samples, db in zip(parts.rest.reshape(-1, FRAME), excess, strict=True):
            loud = bool(db > _PRESENT_DB)
            probability = self._ask(samples, float(db), loud=loud)
            self._pending.append(_Frame(loud, self._is_speech(probability, loud=loud)))
            if len(self._pending) > LOOKBACK:
                decided.append(self._pending.popleft().speech)
        return decided

    def flush(self) -> list[bool]:
        """Return what is undecided, and forget the signal but not the room."""
        decided = [frame.speech for frame in self._pending]
        self._pending.clear()
        self._before.clear()
        self._awake = self._probable = 0
        self._likeliest, self._speaks = 0.0, False
        self._quiet = _RECENT
        self._echo.skip()
        return decided

    def _ask(self, samples: Samples, excess_db: float, *, loud: bool) -> float:
        """Return how likely a frame is speech; 0 while the judge sleeps."""
        if loud:
            # What it last heard it remembers: a judge that begins anew at every impact takes some
            # of them for speech.
            while not self._awake and self._before:
                self._judge.probability(self._before.popleft(), 0.0)
            self._awake = _AWAKE
        if not self._awake:
            self._before.append(samples)
            return 0.0
        self._awake -= 1
        return self._judge.probability(samples, excess_db)

    def _is_speech(self, probability: float, *, loud: bool) -> bool:
        self._quiet = 0 if loud else self._quiet + 1
        if self._quiet >= _RECENT or probability < (_OFF if self._probable else _ON):
            self._probable, self._likeliest, self._speaks = 0, 0.0, False
            return False
        self._probable += 1
        self._likeliest = max(self._likeliest, probability)
        if not self._speaks and self._probable >= _SURE and self._likeliest >= _LIKELY:
            self._speaks = True
            self._begin_earlier()
        return self._speaks

    def _begin_earlier(self) -> None:
        """What made it sure was speech too, and what was loud right before."""
        for back, frame in enumerate(reversed(self._pending), start=1):
            if back >= self._probable and not frame.loud:
                return
            frame.speech = True
