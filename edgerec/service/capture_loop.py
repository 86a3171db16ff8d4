"""The recorder thread: from the sources through the synchronizer into the history ring.

Waits for pipes only. It never touches the disk and never waits for whoever reads the history.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from edgerec.audio import Delivery, GapReason, StreamEnded, StreamHeader, TrackName
from edgerec.clock import Clock
from edgerec.service.timeline import LiveStamps, SessionTimeline
from edgerec.sync.ring import History
from edgerec.sync.synchronizer import Synchronizer

log = logging.getLogger(__name__)

_SECOND_NS: Final = 1_000_000_000
TICK_MS: Final = 250  # sources want to be asked this often, and silence is committed by it
OTHER_TRACK_NS: Final = 3 * _SECOND_NS  # a start that waits for it has both from frame 0
TAIL_NS: Final = 2 * _SECOND_NS  # after a stop, for what the devices still hold


class Source(Protocol):
    """What delivers one track; see `capture.child.ChildSource`."""

    def fileno(self) -> int | None:
        """Return what to select on; None while there is nothing."""
        ...

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what there is, in order, without waiting."""
        ...

    def close(self) -> None:
        """Give up the device."""
        ...


class CaptureLoop:
    """Sources in, one session's timeline out.

    `run` belongs to the recorder thread; `stop` may be called from any thread.

    Parameters
    ----------
    length_s
        The session ends by itself after this long; None: only `stop` ends it.
    choose_rate, build_history
        The timeline's rate, once the devices have told theirs, and the ring for it.
    on_session
        Told of the session when it begins.
    """

    def __init__(
        self,
        sources: Mapping[TrackName, Source],
        synchronizer: Synchronizer,
        clock: Clock,
        *,
        length_s: float | None,
        choose_rate: Callable[[Mapping[TrackName, StreamHeader]], int],
        build_history: Callable[[int], History],
        on_session: Callable[[SessionTimeline], None],
    ) -> None:
        self._sources = sources
        self._synchronizer = synchronizer
        self._clock = clock
        self._length_s = length_s
        self._choose_rate = choose_rate
        self._build_history = build_history
        self._on_session = on_session
        self._timeline: SessionTimeline | None = None
        self._settled_ns: int | None = None  # when the first track could have begun
        self._stop_ns: int | None = None
        self._rounds = 0
        self._told: dict[TrackName, StreamHeader] = {}  # the log, of what each track delivers
        self._behind = False  # there is more to commit than one step took
        self._ended = False
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @property
    def timeline(self) -> SessionTimeline | None:
        """Of the session; None while it has not begun. For any thread."""
        return self._timeline

    @property
    def rounds(self) -> int:
        """How often the loop has come to the end of a step; a sign of life. For any thread."""
        return self._rounds

    def run(self) -> None:
        """Capture until the session has ended; then the devices are given up."""
        try:
            while not self._ended:
                self._wait()
                self.step(self._clock.now_ns())
                self._rounds += 1
        finally:
            for source in self._sources.values():
                source.close()

    def stop(self) -> None:
        """End the session now: what was sampled up to this instant is still recorded."""
        if self._stop_ns is None:
            self._stop_ns = self._clock.now_ns()
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Let go of what `stop` wakes the loop by; neither of them may be called any more."""
        os.close(self._woken)

    def step(self, now_ns: int) -> None:
        """Take in what there is, and bring the timeline up to `now_ns`."""
        for name, source in self._sources.items():
            for delivery in source.deliver(now_ns):
                self._log_state(name, delivery)
                self._synchronizer.deliver(name, delivery)
        timeline = self._timeline or self._begin(now_ns)
        if timeline is None:
            self._ended = self._stop_ns is not None
            return
        # No further than the stop: silence that is given up waiting for would run past it.
        self._behind = self._synchronizer.advance(min(now_ns, self._stop_ns or now_ns))
        timeline.reports = self._synchronizer.report()
        self._end(timeline, now_ns)

    def _wait(self) -> None:
        ready = select.poll()
        ready.register(self._woken, select.POLLIN)
        for source in self._sources.values():
            pipe = source.fileno()
            if pipe is not None:
                ready.register(pipe, select.POLLIN)
        ready.poll(0 if self._behind else TICK_MS)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)

    def _begin(self, now_ns: int) -> SessionTimeline | None:
        """Begin the session with the first frame that all tracks have.

        A track that does not come is waited for, but not long: it begins with a gap. One that
        speaks only at times has begun already.
        """
        awaited = self._synchronizer.continuous
        settled = self._synchronizer.first_instants_ns(settled=True)
        instants = {name: settled[name] for name in awaited if name in settled}
        if not instants and (len(awaited) == len(self._sources) or self._stop_ns is not None):
            return None
        if self._settled_ns is None:
            self._settled_ns = now_ns
        complete = len(instants) == len(awaited) or self._stop_ns is not None
        if not complete and now_ns - self._settled_ns < OTHER_TRACK_NS:
            return None
        headers = {n: self._synchronizer.header(n) for n in self._synchronizer.tracks}
        rate = self._choose_rate({name: header for name, header in headers.items() if header})
        epoch_ns = math.ceil(max(instants.values(), default=now_ns))
        history = self._build_history(rate)
        self._synchronizer.begin(epoch_ns, rate, history)
        self._timeline = SessionTimeline(
            rate, history, LiveStamps(self._clock, epoch_ns, rate), self._synchronizer.report()
        )
        if self._length_s is not None and self._stop_ns is None:
            self._stop_ns = epoch_ns + round(self._length_s * _SECOND_NS)
        self._on_session(self._timeline)
        return self._timeline

    def _end(self, timeline: SessionTimeline, now_ns: int) -> None:
        """End the session where it was stopped, once all of it has come or it is overdue."""
        if self._stop_ns is None or now_ns < self._stop_ns or self._behind:
            return
        stop = max(self._synchronizer.frame_at(self._stop_ns), timeline.history.committed)
        if self._synchronizer.received(stop) or now_ns - self._stop_ns > TAIL_NS:
            timeline.stop = self._synchronizer.finish(stop)
            timeline.reports = self._synchronizer.report()
            self._ended = True

    def _log_state(self, name: TrackName, delivery: Delivery) -> None:
        """Log what a technician acts on: not each utterance, and no pause between two."""
        match delivery:
            case StreamHeader() if delivery != self._told.get(name):
                self._told[name] = delivery
                log.info(
                    "track delivers track=%s device=%r rate=%d channels=%d",
                    name,
                    delivery.device,
                    delivery.sample_rate,
                    delivery.channels,
                )
            case StreamEnded() if delivery.reason is not GapReason.QUIET:
                self._told.pop(name, None)
                log.warning(
                    "track is silent track=%s reason=%s why=%r",
                    name,
                    delivery.reason.label,
                    delivery.detail,
                )
