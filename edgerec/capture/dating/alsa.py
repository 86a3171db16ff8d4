"""Dates the newest frame of a bare ALSA card by what the kernel says of the stream.

Reading a stream's `status` below `/proc/asound` has the driver look how far the hardware has got;
what it prints is of one instant: when it looked, how many frames there were to be read, and how
many frames ago the newest of those was captured. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from edgerec import kernel
from edgerec.capture.dating.pulse import READING_ERROR_US, Reading
from edgerec.capture.devices.alsa_cards import alsa_streams
from edgerec.clock import SECOND_NS, monotonic_now_ns, raw_now_ns

LOOKS: Final = 9
LOOK_AGAIN_S: Final = 0.001
"""Hardware advances in steps: snd-aloop's of 4 ms, USB's of up to 8 ms. Between two steps it is
further than it says, so of several looks the one whose frames are the earliest is the truest."""

_STATUS: Final = re.compile(
    r"^state: RUNNING\n.*?^tstamp *: (\d+)\.(\d{9})\n"
    r"delay *: (-?\d+)\navail *: (\d+)$",
    re.MULTILINE | re.DOTALL,
)


class _Look(NamedTuple):
    at_ns: int
    """When the kernel looked, on CLOCK_MONOTONIC_RAW."""
    available: int
    """Frames to be read."""
    delay: int
    """Frames since the oldest of them was captured."""
    counted: int
    """Frames of the stream so far, a moment later."""


class AlsaDating:
    """Dates the stream that this process records from a card.

    Parameters
    ----------
    status
        The kernel's file about it.
    rate
        Of the stream, in Hz.
    sleep
        Waits for some seconds.
    """

    is_eager: Final = False

    def __init__(
        self, status: Path, rate: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._status = status
        self._rate = rate
        self._sleep = sleep

    def read(self, count: Callable[[], int]) -> Reading | None:
        """As `pulse.Dating.read`; within `LOOKS` times `LOOK_AGAIN_S` and an answer."""
        looks = [look for number in range(LOOKS) if (look := self._look(count, number))]
        if not looks:
            return None
        # More frames may have come before they were counted, but not each time.
        taken = min(look.counted - look.available for look in looks)
        return min(
            (self._reading(look, taken) for look in looks),
            key=lambda reading: reading.captured_ns - self._ns(reading.frames),
        )

    def _look(self, count: Callable[[], int], number: int) -> _Look | None:
        if number:
            self._sleep(LOOK_AGAIN_S)
        found = _STATUS.search(_read(self._status))
        counted = count()
        if found is None:
            return None  # it does not run just now
        seconds, fraction, delay, available = map(int, found.groups())
        # In this order: where this process has to wait in between, the look counts as a later one.
        ago_ns = monotonic_now_ns() - (seconds * SECOND_NS + fraction)
        return _Look(raw_now_ns() - ago_ns, available, delay, counted)

    def _reading(self, look: _Look, taken: int) -> Reading:
        on_its_way_ns = self._ns(look.delay - look.available)
        return Reading(taken + look.available, look.at_ns - on_its_way_ns, READING_ERROR_US)

    def _ns(self, frames: int) -> int:
        return frames * SECOND_NS // self._rate


def alsa_dating(device: str, pid: int, rate: int) -> AlsaDating | None:
    """Return what dates a process's stream; None where the kernel says nothing of it."""
    status = alsa_streams(device).get(pid)
    return None if status is None else AlsaDating(status, rate)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):  # the card has gone
        return kernel.read_text(path)
    return ""
