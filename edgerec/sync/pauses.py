"""The pauses on a session's timeline. Nothing sampled in a pause passes beyond the resampler."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from edgerec.audio import TimelineFrame

ENDLESS: Final = 1 << 62  # frames; the end of a pause that still lasts


class Pauses:
    """The pauses of one session that tracks may still have to fill; for the recorder thread only.

    A pause begins where no track has been placed yet, so that it is complete on every track.
    """

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int]] = deque()

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Start and stop of each pause, in order."""
        return tuple(self._spans)

    def begin(self, start: TimelineFrame) -> None:
        """Pause from this frame on; a pause that reaches this frame is continued instead."""
        if self._spans and start <= self._spans[-1][1]:
            start = TimelineFrame(self._spans.pop()[0])
        self._spans.append((start, ENDLESS))

    def end(self, stop: TimelineFrame) -> None:
        """End the pause that lasts before this frame."""
        start, _ = self._spans.pop()
        self._spans.append((start, max(start, stop)))

    def pieces(self, start: int, frames: int) -> Iterator[tuple[int, bool]]:
        """Cut frames from `start` on where pauses begin and end: lengths, and whether paused."""
        at, stop = start, start + frames
        for first, last in self._spans:
            inside, behind = min(max(first, at), stop), min(max(last, at), stop)
            if inside > at:
                yield inside - at, False
            if behind > inside:
                yield behind - inside, True
            at = max(at, behind)
        if stop > at:
            yield stop - at, False

    def forget(self, before: TimelineFrame) -> None:
        """Forget the pauses that end before a frame that no track will place any more."""
        while self._spans and self._spans[0][1] < before:
            self._spans.popleft()
