"""Decides where a session begins: live with the latest track, in a replay with the earliest.

For the recorder thread.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from edgerec.clock import SECOND_NS, Clock
from edgerec.sync.synchronizer import Synchronizer

OTHER_TRACK_NS: Final = 3 * SECOND_NS  # a start that waits for it has both from frame 0
KEPT_NS: Final = SECOND_NS  # with the time in which a clock settles, less than `FORGET_S`


class SessionStart(Protocol):
    """Decides when a session can begin, and with which instant."""

    def again(self) -> None:
        """Decide for another session from now on."""
        ...

    def epoch_ns(
        self, synchronizer: Synchronizer, now_ns: int, not_before_ns: int, *, stopped: bool
    ) -> int | None:
        """Return the instant of frame 0; None: the session can't begin yet.

        Parameters
        ----------
        not_before_ns
            The instant of the request: what was sampled before is not part of the session.
        stopped
            Whether the session is to end already: then nothing is waited for.
        """
        ...


class LatestTrack:
    """Begins with the first frame that all tracks have.

    A track that does not deliver is waited for briefly, and begins with a gap. Tracks that deliver
    audio only intermittently count as started.
    """

    def __init__(self) -> None:
        self._settled_ns: int | None = None  # when the first track could have begun

    def again(self) -> None:
        """Decide for another session from now on."""
        self._settled_ns = None

    def epoch_ns(
        self, synchronizer: Synchronizer, now_ns: int, not_before_ns: int, *, stopped: bool
    ) -> int | None:
        """Return the instant of frame 0; see `SessionStart.epoch_ns`."""
        awaited = synchronizer.continuous
        settled = synchronizer.first_instants_ns(settled=True)
        instants = [settled[name] for name in awaited if name in settled]
        if not instants and (len(awaited) == len(synchronizer.tracks) or stopped):
            return None
        if self._settled_ns is None:
            self._settled_ns = now_ns
        complete = len(instants) == len(awaited) or stopped
        if not complete and now_ns - self._settled_ns < OTHER_TRACK_NS:
            return None
        return math.ceil(max(not_before_ns, max(instants, default=now_ns)))


class EarliestTrack:
    """Begins with the first frame that any track has, so that no frame of an input is left out.

    A later track is waited for as long as the synchronizer keeps all of the earlier one: it may be
    a late device, whose first frame was sampled before the other one's.

    Parameters
    ----------
    clock
        Time of the inputs, in which they are waited for.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settled_ns: int | None = None
        self.complete = False
        """Whether nothing more comes: then clocks that have not settled are good enough."""

    def again(self) -> None:
        """Decide for another session from now on."""
        self._settled_ns = None

    def epoch_ns(
        self, synchronizer: Synchronizer, now_ns: int, not_before_ns: int, *, stopped: bool
    ) -> int | None:
        """Return the instant of frame 0; see `SessionStart.epoch_ns`."""
        settled = synchronizer.first_instants_ns(settled=True)
        arrived_ns = self._clock.now_ns()
        if settled and self._settled_ns is None:
            self._settled_ns = arrived_ns
        waited = self._settled_ns is not None and arrived_ns - self._settled_ns >= KEPT_NS
        if not (len(settled) == len(synchronizer.tracks) or waited or self.complete):
            return None
        instants = synchronizer.first_instants_ns(settled=False)
        return math.floor(min(instants.values())) if instants else None
