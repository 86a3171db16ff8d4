"""State of one track's source, a capture child or a feed, for status and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StateName = Literal["starting", "running", "stalled", "absent", "idle"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """State of one source, for status and events."""

    name: StateName
    """Name of the state. A restarted child keeps the name of its fault until it delivers. A feed is
    `idle` while nobody is connected and nothing plays."""
    since_ns: int
    """Instant since which it holds, on CLOCK_MONOTONIC_RAW."""
    detail: str
    restarts: int
    """Number of children started after the first."""
