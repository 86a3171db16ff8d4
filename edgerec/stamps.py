"""Wall-clock stamps of timeline frames, and what may be concluded from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edgerec.audio import Stamp, TimelineFrame
from edgerec.clock import SECOND_NS, Clock

RAW_ERROR_PPM: Final = 100.0
"""Assumed rate error of the machine's own crystal, by which the time since a frame is measured."""
SETTLED_NS: Final = 3600 * SECOND_NS
"""A wall clock must have been trusted for an hour before anything is too old by it."""


def stamp_now(clock: Clock) -> Stamp:
    """Return the current time on all clocks."""
    now = clock.read()
    return Stamp(now.utc_ns, now.utc_trusted, now.utc_error_ms, now.monotonic_ns, now.boot_id)


class LiveStamps:
    """Stamps of a session in progress: reads the clocks each time.

    After a correction of the wall clock, frames are stamped by the corrected clock. A session ends
    where the machine is suspended: all its frames lie before that.
    """

    def __init__(self, clock: Clock, epoch_ns: int, rate: int) -> None:
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._rate = rate
        self._slept_ns = clock.read().slept_ns

    def __call__(self, frame: TimelineFrame) -> Stamp:
        """Return the time of a frame by the clocks as they are now."""
        now = self._clock.read()
        ago_ns = now.raw_ns - (self._epoch_ns + frame * SECOND_NS // self._rate)
        error_ms = now.utc_error_ms
        if error_ms is not None:
            error_ms = round(error_ms + abs(ago_ns) * 1e-6 * RAW_ERROR_PPM * 1e-6, 3)
        return Stamp(
            utc_ns=now.utc_ns - ago_ns - (now.slept_ns - self._slept_ns),
            utc_trusted=now.utc_trusted,
            utc_error_ms=error_ms,
            monotonic_ns=now.monotonic_ns - ago_ns,
            boot_id=now.boot_id,
        )


def settle(opening: Stamp, closing: Stamp) -> Stamp:
    """Choose between an instant's time as read then and as derived from the clocks now.

    The first reading is more exact, unless the wall clock was not set yet.
    """
    return closing if closing.utc_trusted and not opening.utc_trusted else opening


def retimed(stamp: Stamp, now: Stamp) -> Stamp:
    """Return a stamp with the wall clock as it is known now, if it was not known then.

    The monotonic clock says how long ago that was, as long as the machine has not been rebooted
    since.
    """
    if stamp.utc_trusted or not now.utc_trusted or not stamp.boot_id:
        return stamp
    if stamp.boot_id != now.boot_id:
        return stamp
    ago_ns = now.monotonic_ns - stamp.monotonic_ns
    return replace(
        stamp, utc_ns=now.utc_ns - ago_ns, utc_trusted=True, utc_error_ms=now.utc_error_ms
    )


class AgeClock:
    """A lower bound of the current time, so that a wall clock set ahead never makes a file old.

    It is the earliest time that a trusted wall clock has ever given, advanced by the monotonic
    clock. A clock that is set back only makes everything younger.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._since_ns = 0

    def utc_ns(self, now: Stamp) -> int | None:
        """Return the bound, given what the clocks say now; None while it is unknown."""
        if not now.utc_trusted and self._offset_ns is None:
            return None
        if now.utc_trusted:
            offset_ns = now.utc_ns - now.monotonic_ns
            if self._offset_ns is None:
                self._offset_ns, self._since_ns = offset_ns, now.monotonic_ns
            self._offset_ns = min(self._offset_ns, offset_ns)
        if self._offset_ns is None or now.monotonic_ns - self._since_ns < SETTLED_NS:
            return None
        return now.monotonic_ns + self._offset_ns
