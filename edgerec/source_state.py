"""How is the source of one track, a capture child or a feed, for status and events?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StateName = Literal["starting", "running", "stalled", "absent", "idle"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one source is, for status and events."""

    name: StateName
    """A restarted child that has not delivered yet leaves the name of the fault standing. A feed is
    `idle` while nobody is connected and nothing plays."""
    since_ns: int
    """On CLOCK_MONOTONIC_RAW."""
    detail: str
    restarts: int
    """Children started after the first."""
