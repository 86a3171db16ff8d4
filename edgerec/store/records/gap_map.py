"""Collects the gaps and levels of one track of a chunk.

A track is described by its *changes*: from this frame on it is audio, or silence for this reason.
Gaps are the stretches between changes, so recorded frames and gap frames add up to the file's
length by construction, however the audio arrived.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import Gap, GapReason, TimelineFrame

AUDIO: Final = 0
"""Code of a frame that is audio."""

MAX_CHANGES: Final = 8192
"""Maximum number of changes per track and chunk, so that neither memory nor a sidecar (a gap is
about 60 bytes) grows without bound. A chunk that would need more ends there and the next one
continues: nothing is left out. With a loss every 100 ms that is after 7 minutes."""

_FULL_SCALE: Final = 32768


@dataclass(frozen=True, slots=True)
class Change:
    """From `frame` on, the track is audio (0) or silence for a `GapReason`."""

    frame: TimelineFrame
    code: int


def changes_in(start: TimelineFrame, reasons: NDArray[np.uint8], before: int) -> list[Change]:
    """Return where the reason code changes, given the code `before` the first frame."""
    if before == AUDIO and not reasons.any():
        return []  # nearly always
    edges = np.flatnonzero(np.diff(reasons, prepend=np.uint8(before)))
    return [Change(TimelineFrame(start + int(edge)), int(reasons[edge])) for edge in edges]


def gaps_between(changes: Iterable[Change], stop: TimelineFrame) -> Iterator[Gap]:
    """Yield the gaps that `changes` describe, up to frame `stop`."""
    inside = [change for change in changes if change.frame < stop]
    for change, following in pairwise([*inside, Change(stop, AUDIO)]):
        if change.code != AUDIO:
            frames = following.frame - change.frame
            yield Gap(change.frame, frames, GapReason(change.code))


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of a track over the frames that are not gaps; None for digital silence."""

    peak_dbfs: float | None
    rms_dbfs: float | None
    """RMS level in dBFS; a full-scale sine has -3.0."""
    clipped: int
    """Number of samples at either end of the scale."""


class TrackLedger:
    """Collects what one track of one chunk holds."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._peak = 0
        self._energy = 0  # a whole number: the same however the audio was cut into pieces
        self._clipped = 0

    def fits(self, start: TimelineFrame, reasons: NDArray[np.uint8]) -> int:
        """Return how many of these frames can be added before there are too many changes."""
        fresh = changes_in(start, reasons, self._code)
        room = MAX_CHANGES - len(self.changes)
        return len(reasons) if len(fresh) <= room else fresh[room].frame - start

    def add(
        self, start: TimelineFrame, samples: NDArray[np.int16], reasons: NDArray[np.uint8]
    ) -> list[Change]:
        """Take in frames that follow the last ones; return the changes among them."""
        fresh = changes_in(start, reasons, self._code)
        self.changes += fresh
        low, high = int(samples.min()), int(samples.max())
        self._peak = max(self._peak, -low, high)
        wide = samples.astype(np.int64)
        self._energy += int(wide @ wide)
        if low == -_FULL_SCALE or high == _FULL_SCALE - 1:
            ends = (samples == -_FULL_SCALE) | (samples == _FULL_SCALE - 1)
            self._clipped += int(np.count_nonzero(ends))
        return fresh

    def levels(self, recorded_frames: int) -> Levels:
        """Return the levels over the frames that are not gaps."""
        if self._peak == 0 or recorded_frames == 0:
            return Levels(None, None, self._clipped)
        rms = math.sqrt(self._energy / recorded_frames)
        return Levels(_dbfs(self._peak), _dbfs(rms), self._clipped)

    @property
    def _code(self) -> int:
        return self.changes[-1].code if self.changes else AUDIO


def _dbfs(amplitude: float) -> float:
    return round(20 * math.log10(amplitude / _FULL_SCALE), 1)
