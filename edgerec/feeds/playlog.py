"""The record of what was heard of pushed audio, by position: the number of frames pushed before.

Each utterance plays from its start without a pause, and only the end of one is ever dropped. So a
few numbers per utterance say of every frame whether it was heard, dropped, or still waits.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Final

from edgerec.clock import SECOND_NS

REMEMBERED: Final = 256
"""Utterances whose frames can be asked about: minutes of short ones, hours of usual ones."""


@dataclass(slots=True)
class Spoken:
    """The frames of one utterance: first those that play, then those that were dropped."""

    first: int
    """Position of its first frame."""
    rate: int
    """Sampling rate in Hz."""
    start_ns: int
    """Instant of its first frame on CLOCK_MONOTONIC_RAW."""
    frames: int = 0
    """Number of frames that were played or will be."""
    dropped: int = 0

    @property
    def kept(self) -> int:
        """Position after the last frame that plays."""
        return self.first + self.frames

    @property
    def stop(self) -> int:
        """Position after the last frame."""
        return self.kept + self.dropped

    @property
    def end_ns(self) -> int:
        """Instant at which its last frame has been played."""
        return self.instant_ns(self.frames)

    def instant_ns(self, frame: int) -> int:
        """Return the instant of a frame, counted within the utterance."""
        # From the start each time: rounding never adds up.
        return self.start_ns + frame * SECOND_NS // self.rate

    def heard(self, now_ns: int) -> int:
        """Return how many frames have been played by now."""
        if now_ns >= self.end_ns:
            return self.frames
        return min(max((now_ns - self.start_ns) * self.rate // SECOND_NS, 0), self.frames)

    def drop_after(self, frames: int) -> int:
        """Drop all but the first `frames`; return how many that are."""
        gone = max(self.frames - frames, 0)
        self.frames -= gone
        self.dropped += gone
        return gone


@dataclass(frozen=True, slots=True)
class Account:
    """What has become of some pushed frames."""

    frames: int
    """Number of frames heard."""
    seconds: float
    """Duration of those, in s."""
    dropped: int
    waiting: int
    """Number of frames that are queued."""
    last_ns: int | None
    """Instant on CLOCK_MONOTONIC_RAW at which the last frame heard ended; None: none was heard."""


class PlayLog:
    """All frames ever pushed into a track; for one thread."""

    def __init__(self) -> None:
        self._spoken: deque[Spoken] = deque()
        self._forgotten = Spoken(0, 1, 0)  # all utterances before those, as one
        self._forgotten_s = 0.0

    @property
    def pushed(self) -> int:
        """Number of frames pushed so far."""
        return self._spoken[-1].stop if self._spoken else self._forgotten.stop

    def begin(self, rate: int, start_ns: int) -> Spoken:
        """Return the record of another utterance; frames are added to it while it is the last."""
        spoken = Spoken(self.pushed, rate, start_ns)
        self._spoken.append(spoken)
        if len(self._spoken) > REMEMBERED:
            old = self._spoken.popleft()
            self._forgotten.frames += old.frames
            self._forgotten.dropped += old.dropped
            self._forgotten_s += old.frames / old.rate
        return spoken

    def drop(self, frames: int, rate: int, now_ns: int) -> Spoken:
        """Count frames that are dropped as they come; return their record."""
        spoken = self.begin(rate, now_ns)
        spoken.dropped = frames
        return spoken

    def all(self, now_ns: int) -> Account:
        """Return what has become of everything so far."""
        recent = self.between(self._forgotten.stop, self.pushed, now_ns)
        return Account(
            recent.frames + self._forgotten.frames,
            recent.seconds + self._forgotten_s,
            recent.dropped + self._forgotten.dropped,
            recent.waiting,
            recent.last_ns,
        )

    def between(self, start: int, stop: int, now_ns: int) -> Account:
        """Return what has become of the frames at positions [start, stop).

        Raises
        ------
        LookupError
            They are not remembered any more, or were not pushed yet.
        """
        if not self._forgotten.stop <= start <= stop <= self.pushed:
            raise LookupError(
                f"frames {start} to {stop}; known are {self._forgotten.stop} to {self.pushed}"
            )
        frames, seconds, dropped = 0, 0.0, 0
        last_ns: int | None = None
        later = itertools.dropwhile(lambda spoken: spoken.stop <= start, self._spoken)
        for spoken in itertools.takewhile(lambda spoken: spoken.first < stop, later):
            heard_to = min(stop, spoken.first + spoken.heard(now_ns))
            heard = max(heard_to - max(start, spoken.first), 0)
            if heard:
                last_ns = spoken.instant_ns(heard_to - spoken.first)
            frames += heard
            seconds += heard / spoken.rate
            dropped += max(min(stop, spoken.stop) - max(start, spoken.kept), 0)
        return Account(frames, seconds, dropped, stop - start - frames - dropped, last_ns)
