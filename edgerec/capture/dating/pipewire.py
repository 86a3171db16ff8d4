"""Dates the newest frame of a PipeWire stream by the cycles of PipeWire's graph.

Frames arrive with the cycles, within a fraction of a millisecond, and `pipewire_graph` gives the
offset between a cycle's frames and their capture. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from edgerec.capture.dating.libpulse import LibpulseError, PulseConnection
from edgerec.capture.dating.pipewire_graph import (
    MOST_QUANTUM,
    UNREADABLE,
    StreamPlace,
    clock_rate,
    stream_place,
)
from edgerec.capture.dating.pulse import READING_ERROR_US, Reading
from edgerec.capture.devices.sound_server import output_of
from edgerec.clock import raw_now_ns
from edgerec.wire.blocks import SAMPLE_BYTES

UNKNOWN: Final = StreamPlace(0, MOST_QUANTUM * 1_000_000 // 48_000, MOST_QUANTUM, 48_000)
"""Error of a date, one whole quantum, while the driver of the graph is unknown."""
PATIENCE_NS: Final = 2_000_000_000
"""Time allowed for a stream to be linked; after that, dates have the error above until it is."""
LOOK_NS: Final = 1_000_000_000
"""Least time between two looks at the graph; each starts a program."""
LOOKS: Final = 2
"""Number of looks after a change: its effect on the cycles may come a moment after the report."""
STEP_NS: Final = 2_000_000
"""Deviation of a date from the previous one that no drift explains."""
PHASES: Final = 8
"""Number of consecutive lumps whose ends are spread over a cycle: `LUMP_MS` at 48 kHz is a whole
number of eighths of PipeWire's longest cycles of 2048 frames, not of whole cycles."""
PHASE_FRAMES: Final = MOST_QUANTUM // PHASES
LUMP_MS: Final = 272
LUMP_STEP_MS: Final = 16
"""Unit of such lumps, which are odd multiples of it."""
LEAST_LUMP_MS: Final = 80
"""Shortest lump: shorter ones would shorten the cycles for everyone."""
SENDS_BYTES: Final = 1 << 16
"""Maximum that PipeWire sends at once; a longer lump would come in pieces of that size."""
CHANGED: Final = 2
"""Number of consecutive lumps that must be off; a single one was late, on a busy machine."""
LINGERS: Final = 4
"""Number of readings after a step until the recorder has decided about it."""
LONGEST_LUMP_NS: Final = 400_000_000
BEFORE_NS: Final = 3_000_000
"""Time before a lump is due at which waiting for it begins."""
LOOK_AGAIN_S: Final = 0.0005
MAX_BLIND_NS: Final = 2_000_000
"""Longest time between two counts of frames; after a longer one a lump's arrival was not seen."""


class _Lump(NamedTuple):
    end: int
    """Number of frames of the stream at the lump's end."""
    arrived_ns: int
    frames: int


class PipeWireDating:
    """Dates the stream by which this process records from PipeWire.

    Parameters
    ----------
    pid, rate
        Id of the process, and rate of its stream in Hz.
    changes
        Returns whether the graph has changed since the last call.
    look
        Returns what ``pw-dump`` prints; None where it is not available.
    sleep
        Waits for some seconds.
    """

    def __init__(
        self,
        pid: int,
        rate: int,
        changes: Callable[[], bool],
        look: Callable[[], str | None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pid = pid
        self._rate = rate
        self._changes = changes
        self._look = look or read_graph
        self._sleep = sleep
        self._place: StreamPlace | None = None
        self._began_ns = raw_now_ns()
        self._looked_ns: int | None = None
        self._looks_due = LOOKS
        self._last: _Lump | None = None
        self._phase = 0  # frames at which a lump ended with its cycle
        # How early the last lumps came, and their ends.
        self._unplaced: deque[tuple[int, int]] = deque(maxlen=PHASES + 2)
        self._expected: Reading | None = None  # the last one without doubt
        self._lingering = (0, 0)  # readings, and by how much their error is greater

    def read(self, count: Callable[[], int]) -> Reading | None:
        """As `pulse.Dating.read`. Takes up to `LONGEST_LUMP_NS`, and a look 2 s more."""
        self._follow_graph()
        place = self._place
        if place is None and raw_now_ns() - self._began_ns < PATIENCE_NS:
            return None
        place = place or UNKNOWN
        lump = self._next_lump(count, place)
        if lump is None:
            return None
        frames, arrived_ns = lump
        doubt_us = place.doubt_us if self._rate == place.rate else place.quantum_us
        if self._last is not None and self._last.frames % PHASE_FRAMES:
            doubt_us += self._ns(PHASE_FRAMES) // 1000  # perhaps every lump waits a little
        captured_ns = arrived_ns + place.later_us * 1000
        waited_ns = self._waited_ns(frames, captured_ns, place)
        if waited_ns is None:
            return self._doubtful(frames, captured_ns, place)
        captured_ns -= waited_ns
        doubt_us += self._lingering_us(frames, captured_ns)
        self._expected = Reading(frames, captured_ns, READING_ERROR_US + doubt_us)
        return self._expected

    def _doubtful(self, frames: int, captured_ns: int, place: StreamPlace) -> Reading | None:
        """Return a date while it is unknown how long lumps wait, as if nothing had changed.

        Its error covers what may have changed.
        """
        if len(self._unplaced) < CHANGED:
            return None
        off_ns = self._off_ns(frames, captured_ns)
        error_us = READING_ERROR_US + place.quantum_us + abs(off_ns) // 1000
        return Reading(frames, captured_ns - off_ns, error_us)

    def _lingering_us(self, frames: int, captured_ns: int) -> int:
        """Return by how much frames may be misplaced until the recorder has followed a step."""
        off_us = abs(self._off_ns(frames, captured_ns)) // 1000
        if off_us > STEP_NS // 1000:
            self._lingering = LINGERS, off_us
        left, off_us = self._lingering
        self._lingering = max(left - 1, 0), off_us
        return off_us if left else 0

    @property
    def is_eager(self) -> bool:
        """Whether it has to see every lump to find out where in a cycle they end."""
        return bool(self._unplaced)

    def _waited_ns(self, frames: int, captured_ns: int, place: StreamPlace) -> int | None:
        """Return how long a lump waited for the end of its cycle; None: not known at present.

        A stream begins with a cycle, and the pattern stays the same until the cycle's length
        changes or a lump is lost; then `PHASES` lumps show it: the one that waited least did not
        wait at all.
        """
        if len(self._unplaced) < CHANGED:
            waited_ns = self._wait_ns(frames, self._phase, place)
            if abs(self._off_ns(frames, captured_ns - waited_ns)) <= STEP_NS:
                self._unplaced.clear()
                return waited_ns
        self._unplaced.append((self._ns(frames) - captured_ns, frames))
        phase = self._found_phase(place)
        if phase is None:
            return None
        self._phase = phase
        self._unplaced.clear()
        return self._wait_ns(frames, phase, place)

    def _found_phase(self, place: StreamPlace) -> int | None:
        """Return where a lump ended with its cycle; None while the lumps seen don't show it.

        Most must agree, and those must lie everywhere in a cycle.
        """
        if len(self._unplaced) < PHASES:
            return None
        early_ns, phase = max(self._unplaced)
        alike = [
            frames
            for one_ns, frames in self._unplaced
            if abs(early_ns - one_ns - self._wait_ns(frames, phase, place)) <= STEP_NS
        ]
        seen = {frames % place.quantum // PHASE_FRAMES for frames in alike}
        is_shown = len(seen) >= place.quantum // PHASE_FRAMES
        return phase if is_shown and len(alike) >= PHASES else None

    def _wait_ns(self, frames: int, phase: int, place: StreamPlace) -> int:
        return self._ns((phase - frames) % place.quantum)

    def _off_ns(self, frames: int, captured_ns: int) -> int:
        """Return how much later a date is than expected from the last one."""
        last = self._expected
        if last is None:
            return 0
        return captured_ns - last.captured_ns - self._ns(frames - last.frames)

    def _follow_graph(self) -> None:
        """Look at the graph if it has changed."""
        if self._changes():
            self._looks_due = LOOKS
        now_ns = raw_now_ns()
        is_due = self._looked_ns is None or now_ns - self._looked_ns >= LOOK_NS
        if self._place is None or (self._looks_due and is_due):
            self._looks_due = max(self._looks_due - 1, 0)
            self._looked_ns = now_ns
            self._place = self._find_place()

    def _find_place(self) -> StreamPlace | None:
        dump = self._look()
        try:
            return None if dump is None else stream_place(dump, self._pid)
        except UNREADABLE:
            return None  # dated all the same, with a quantum of doubt

    def _next_lump(self, count: Callable[[], int], place: StreamPlace) -> tuple[int, int] | None:
        """Wait for the next lump; return the frame count and its time; None: arrival not seen."""
        now_ns = raw_now_ns()
        first_ns, last_ns = self._due_ns(now_ns, place)
        self._sleep(max(first_ns - now_ns, 0) / 1e9)
        before, counted_ns = count(), raw_now_ns()
        self._last = None
        while counted_ns < last_ns:
            self._sleep(LOOK_AGAIN_S)
            frames, now_ns = count(), raw_now_ns()
            if frames != before:
                self._last = _Lump(frames, now_ns, frames - before)
                is_seen = now_ns - counted_ns <= MAX_BLIND_NS
                return (frames, (now_ns + counted_ns) // 2) if is_seen else None
            counted_ns = now_ns
        return None

    def _due_ns(self, now_ns: int, place: StreamPlace) -> tuple[int, int]:
        """Return when the next lump will come, at the earliest and at the latest."""
        last = self._last
        if last is None:
            return now_ns, now_ns + LONGEST_LUMP_NS
        around_ns = place.quantum_us * 1000 if self.is_eager else 0
        frames, due_ns = last.end, 0
        while due_ns < now_ns:
            frames += last.frames
            due_ns = last.arrived_ns + self._ns(frames - last.end) - BEFORE_NS - around_ns
            if not self.is_eager:
                due_ns += self._wait_ns(frames, self._phase, place)
                due_ns -= self._wait_ns(last.end, self._phase, place)
        return due_ns, due_ns + 2 * (BEFORE_NS + around_ns)

    def _ns(self, frames: int) -> int:
        return frames * 1_000_000_000 // self._rate


def lump_ms(channels: int, rate: int) -> int:
    """Return how much of a stream to request from the server at once."""
    most_ms = min(SENDS_BYTES * 1000 // (SAMPLE_BYTES * channels * rate), LUMP_MS)
    steps = most_ms // LUMP_STEP_MS
    return max((steps - 1 + steps % 2) * LUMP_STEP_MS, LEAST_LUMP_MS)


def graph_rate(default: int) -> int:
    """Return the rate of PipeWire's graph, whatever its devices have: it needs no resampling."""
    dump = read_graph()
    try:
        return default if dump is None else clock_rate(dump)
    except UNREADABLE:
        return default


def read_graph() -> str | None:
    """Return what ``pw-dump`` prints; None where it is not available."""
    return output_of(["pw-dump"])


def pipewire_dating(pid: int, rate: int) -> PipeWireDating:
    """Return a dating of a process's stream."""
    try:
        server = PulseConnection("edgerec")
    except LibpulseError:
        return PipeWireDating(pid, rate, lambda: True)
    server.follow()
    return PipeWireDating(pid, rate, server.take_changes)
