"""Calculates the frame at which a chunk is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgerec.audio import Stamp, TimelineFrame
from edgerec.clock import SECOND_NS

StampOf = Callable[[TimelineFrame], Stamp]
"""Returns the time of a frame by the clocks as they are known now."""

_MAX_CORRECTION_NS: Final = SECOND_NS
"""Correction of the wall clock up to which no sliver of a chunk is cut off; an aligned chunk may be
this much longer than the ceiling."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How the continuous recording is cut into chunks."""

    chunk_frames: int | None
    """Length of a full chunk; None: only a stop or the ceiling ends one."""
    max_file_frames: int
    """Maximum length of every file, whatever `chunk_frames` says."""
    align_to_clock: bool = False
    """Whether to cut at UTC multiples of a chunk's length, once the wall clock can be trusted."""

    def __post_init__(self) -> None:
        """Refuse lengths that no file can have."""
        for name in ("chunk_frames", "max_file_frames"):
            frames = getattr(self, name)
            if frames is not None and frames < 1:
                raise ValueError(f"{name} is {frames}, expected at least 1")
        if self.align_to_clock and self.chunk_frames is None:
            raise ValueError("align_to_clock needs chunk_frames")


def chunk_stop(
    cutting: Cutting,
    sample_rate: int,
    start: TimelineFrame,
    position: TimelineFrame,
    stamp_of: StampOf,
) -> TimelineFrame:
    """Return the frame before which the chunk that began at `start` ends, as known now.

    Parameters
    ----------
    position
        The next frame to be written; the result is never before it.
    """
    ceiling = cutting.max_file_frames
    if cutting.chunk_frames is None:
        return TimelineFrame(start + ceiling)
    plain = TimelineFrame(start + min(cutting.chunk_frames, ceiling))
    if not cutting.align_to_clock:
        return plain
    stamp = stamp_of(start)
    if not stamp.utc_trusted:
        return max(plain, position)
    period_ns = cutting.chunk_frames * SECOND_NS // sample_rate
    slack_ns = min(_MAX_CORRECTION_NS, period_ns // 2)
    written_ns = (position - start) * SECOND_NS // sample_rate
    stop = start + _frames_to_multiple(stamp.utc_ns, written_ns, period_ns, slack_ns, sample_rate)
    latest = start + ceiling + slack_ns * sample_rate // SECOND_NS
    return TimelineFrame(max(stop if stop <= latest else start + ceiling, position))


def _frames_to_multiple(
    start_utc_ns: int, written_ns: int, period_ns: int, slack_ns: int, sample_rate: int
) -> int:
    """Return the frames from `start` to the first multiple of the period worth a cut.

    Skips the multiple that the chunk has just begun at, even if the clock has since moved back a
    little, and any that passed while the clock was not trusted; not one that the clock has just
    jumped over.
    """
    earliest_ns = start_utc_ns + max(slack_ns, written_ns - slack_ns)
    multiple_ns = (earliest_ns // period_ns + 1) * period_ns
    return ((multiple_ns - start_utc_ns) * sample_rate + SECOND_NS // 2) // SECOND_NS
