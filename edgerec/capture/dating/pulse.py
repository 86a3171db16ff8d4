"""Dates the newest frame of a stream by what the sound server reports of its latencies.

PulseAudio delivers a null sink's monitor when it is rendered, up to one lump before it is played,
and a virtual source's audio as much later; so an arrival says little. The buffers and latencies
that it reports at one instant are right for both: the newest frame that has reached this process
was captured, or is played, at `now - buffer - source latency + latency of the monitored sink`.
Measured for PulseAudio 16.1 and 17; see docs/synchronisation.md. Without numpy: the capture child
uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edgerec.capture.dating.libpulse import Latencies, LibpulseError, PulseConnection, ServerStream
from edgerec.clock import raw_now_ns

READING_ERROR_US: Final = 1_000
"""Error of one accepted reading, apart from the scatter within a run of readings."""
MAX_ASKING_NS: Final = 3_000_000
"""Longest time from the first to the last count of frames; beyond it a reading has no instant."""
MAX_FALL_OFF_US: Final = 1_500
"""Tolerance for a sink's latency to fall as time passes."""
FRESH_US: Final = 8_000
"""Time after a sink has rendered a lump in which frames are on their way and not counted yet."""
FRESH_SHARE: Final = 0.3
"""The same time as a share of a short lump."""
SMALL_LUMP_US: Final = 10_000
"""Length of lumps so short that missed or early ones do no harm: every reading is taken."""
LEAST_SINK_US: Final = 1_000
"""Least latency that is used: PulseAudio cuts it off at 0, so a late sink reports 0."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An instant at which a stream's frames were counted."""

    frames: int
    """Number of frames of the stream so far."""
    captured_ns: int
    """Instant at which the last of them was captured, or is played, on CLOCK_MONOTONIC_RAW."""
    error_us: int
    """Bound on the error of the instant, apart from outliers."""


class Dating(Protocol):
    """Dates a stream's frames."""

    @property
    def is_eager(self) -> bool:
        """Whether it should be read at every poll, until it has found its bearings."""

    def read(self, count: Callable[[], int]) -> Reading | None:
        """Count the frames and date the last one; None: not known at present.

        Parameters
        ----------
        count
            Returns how many frames of the stream have reached this process, at once.
        """


class PulseDating:
    """Dates the stream by which this process records from PulseAudio.

    Raises
    ------
    LibpulseError
        The server can't be queried.
    """

    is_eager: Final = False

    def __init__(self, pid: int) -> None:
        self._server = PulseConnection("edgerec")
        self._pid = pid
        self._stream: ServerStream | None = None
        self._sink: int | None = None

    def read(self, count: Callable[[], int]) -> Reading | None:
        """As `Dating.read`; within `libpulse.ANSWER_S`."""
        stream = self._stream or self._find()
        if stream is None:
            return None
        before, began_ns = count(), raw_now_ns()
        latencies = self._server.latencies(stream.index, self._sink)
        after, ended_ns = count(), raw_now_ns()
        if latencies is None or latencies.source != stream.source:
            self._stream = None  # it is gone, or was moved to another source
            return None
        if before != after or ended_ns - began_ns > MAX_ASKING_NS:
            return None
        if self._sink is not None and not is_coherent(latencies):
            return None
        sink_us = sum(latencies.sink_us) // 2
        ago_us = latencies.buffer_us + latencies.source_us - sink_us
        captured_ns = (began_ns + ended_ns) // 2 - ago_us * 1000
        return Reading(after, captured_ns, READING_ERROR_US)

    def _find(self) -> ServerStream | None:
        self._stream = self._server.stream_of(self._pid)
        if self._stream is not None:
            self._sink = self._server.monitored_sink(self._stream.source)
        return self._stream


def is_coherent(latencies: Latencies) -> bool:
    """Whether a sink's latency and the frames that were counted belong to one instant."""
    first_us, last_us = latencies.sink_us
    if min(first_us, last_us) < LEAST_SINK_US:
        return False
    passed_us = (latencies.sink_asked_ns[1] - latencies.sink_asked_ns[0]) / 1000
    if abs(first_us - last_us - passed_us) > MAX_FALL_OFF_US:
        return False  # it rendered meanwhile
    lump_us = latencies.lump_us
    rendered_ago_us = lump_us - (first_us + last_us) / 2
    return lump_us < SMALL_LUMP_US or rendered_ago_us > min(FRESH_US, FRESH_SHARE * lump_us)


def pulse_dating(pid: int) -> Dating | None:
    """Return what dates a process's stream; None where PulseAudio can't be queried."""
    try:
        return PulseDating(pid)
    except LibpulseError:
        return None
