"""Logs streams that should be a sound server's but are not found there, once, after a while.

If the server swapped their source, it would go unnoticed. For one thread.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.device_verdict import OpenDevice
from edgerec.clock import Clock

log = logging.getLogger(__name__)

MISSING_NS: Final = 5_000_000_000
"""Time for a stream to be found. A killed server is noticed sooner, by the capture child."""


class Unwatched:
    """Which tracks' streams are missing, and since when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[TrackName, tuple[int, int]] = {}
        self._told: set[TrackName] = set()

    def missing(self, track: TrackName, opened: OpenDevice | None, why: str) -> None:
        """Note that the server was asked about a track, and did not name its child's stream."""
        if opened is None or opened.source is None:  # nothing of a server's is open
            self._since.pop(track, None)
            return
        now_ns = self._clock.now_ns()
        pid, since_ns = self._since.get(track, (opened.pid, now_ns))
        if pid != opened.pid:
            since_ns = now_ns
        self._since[track] = (opened.pid, since_ns)
        if now_ns - since_ns >= MISSING_NS and track not in self._told:
            self._told.add(track)
            log.warning(
                "a swapped source would go unnoticed track=%s device=%r why=%r",
                track,
                opened.device,
                why,
            )

    def found(self, track: TrackName) -> None:
        """Note that a track's stream is watched."""
        self._since.pop(track, None)
        self._told.discard(track)

    def due_ms(self, tracks: Collection[TrackName]) -> int | None:
        """Return in how long the server is to be asked again; None: there is no reason to."""
        waiting = [
            since_ns + MISSING_NS
            for track, (_, since_ns) in self._since.items()
            if track in tracks and track not in self._told
        ]
        if not waiting:
            return None
        return max(0, math.ceil((min(waiting) - self._clock.now_ns()) / 1e6))
