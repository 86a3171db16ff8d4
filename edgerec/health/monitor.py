"""Measures levels, gaps and signal quality of the timeline while it is recorded.

Reads the history after the recorder thread with a cursor of its own, in a thread of its own, so
that it is independent of capture and of a disk that hangs. It catches up when it is asked: levels
are of the last commit, totals at most a second older; warnings come within five seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame, TrackName, TrackReport
from edgerec.health.status import Reason
from edgerec.session.events import EventBus, Level, StateChanged
from edgerec.session.threads import ThreadMaker
from edgerec.session.timeline import Listener, SessionTimeline
from edgerec.store.records.gap_map import AUDIO, Levels, TrackLedger, changes_in
from edgerec.store.records.sidecar import GapTotal
from edgerec.sync.history import OverrunError

TICK_S: Final = 5.0  # the shortest history holds 6
LEVEL_S: Final = 0.25  # between two level events, and the length that each covers
WINDOW_S: Final = 1.0  # that levels cover; also what is read at once
SILENT: Final = Levels(None, None, 0)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a session's timeline has held so far, per track."""

    levels: Mapping[TrackName, Levels] = field(
        default_factory=lambda: dict.fromkeys(TRACKS, SILENT)
    )
    """Levels of the last committed second."""
    gaps: Mapping[TrackName, Mapping[GapReason, GapTotal]] = field(
        default_factory=lambda: {name: {} for name in TRACKS}
    )
    """Gaps since the session began."""
    warnings: tuple[Reason, ...] = ()
    """Warnings about the audio itself."""


class AudioCheck(Protocol):
    """Checks the audio's quality; see `signal_quality.SignalQuality`."""

    @property
    def warnings(self) -> tuple[Reason, ...]:
        """Warnings that hold now."""
        ...

    def listen(self, span: Span, rate: int, reports: Mapping[TrackName, TrackReport]) -> None:
        """Take in a second of the timeline, and the current reports on the tracks.

        Called by one thread at a time.
        """
        ...


class GapCounter:
    """Counts the gaps of one track as its frames come by."""

    def __init__(self) -> None:
        self._code = AUDIO
        self.totals: dict[GapReason, GapTotal] = {}

    def add(self, span: Span, track: int) -> None:
        """Take in frames that follow the last ones."""
        reasons = span.reasons[track]
        begun = [c.code for c in changes_in(span.start, reasons, self._code) if c.code != AUDIO]
        self._code = int(reasons[-1])
        if not reasons.any():
            return  # nearly always
        frames = np.bincount(reasons, minlength=len(GapReason))
        for code in np.flatnonzero(frames[AUDIO + 1 :]) + AUDIO + 1:
            reason = GapReason(int(code))
            total = self.totals.get(reason, GapTotal())
            self.totals[reason] = GapTotal(
                total.count + begun.count(reason), total.frames + int(frames[code])
            )


class Monitor(Listener):
    """Listens to every session's timeline; between `start` and `close` in a thread of its own.

    Parameters
    ----------
    timeline_of
        Returns the session in progress; None while there is none. For any thread.
    quality
        Called with every second of the session as it is committed. A new session begins at frame 0.
    """

    def __init__(
        self,
        timeline_of: Callable[[], SessionTimeline | None],
        quality: AudioCheck,
        bus: EventBus | None = None,
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._timeline_of = timeline_of
        self._quality = quality
        self._lock = threading.Lock()  # held for milliseconds, and by no thread of the recording
        self._timeline: SessionTimeline | None = None
        self._cursor = TimelineFrame(0)
        self._gaps = {name: GapCounter() for name in TRACKS}
        self._events = bus
        self._told: tuple[tuple[str, TrackName | None], ...] = ()  # the last warnings
        self._leisurely = False  # its next look is TICK_S away
        self._awake = threading.Event()
        self._closing = False
        self._thread = make_thread(target=self._run, name="monitor")

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        self._awake.set()
        self._thread.join()

    @property
    def is_live(self) -> bool:
        """Whether somebody wants to know how loud it is. For any thread."""
        return self._events is not None and self._events.wanted(Level)

    def committed(self, timeline: SessionTimeline) -> None:
        """Note that the timeline has grown, perhaps for a new reader; for the recorder thread."""
        if self._leisurely and self.is_live:
            self._awake.set()

    def heard(self) -> Heard:
        """Return what there was to hear up to now; for any thread."""
        with self._lock:
            timeline = self._catch_up()
            if timeline is None:
                return Heard()
            return Heard(
                _levels_now(timeline),
                {name: dict(counter.totals) for name, counter in self._gaps.items()},
                self._quality.warnings,
            )

    def step(self) -> None:
        """Listen to what was committed since the last time."""
        with self._lock:
            timeline = self._catch_up()
            warnings = () if timeline is None else self._quality.warnings
        self._publish_warnings(warnings)

    def _run(self) -> None:
        while True:
            self._leisurely = not self.is_live
            self._awake.wait(TICK_S if self._leisurely else LEVEL_S)
            self._awake.clear()
            if self._closing:
                return
            self.step()
            if self.is_live:
                self._publish_levels()

    def _publish_warnings(self, warnings: tuple[Reason, ...]) -> None:
        """Publish warnings when they change, not while they last."""
        told = tuple((warning.code, warning.track) for warning in warnings)
        if told == self._told:
            return
        self._told = told
        if self._events is not None:
            state = "wrong" if warnings else "ok"
            detail = "; ".join(warning.why for warning in warnings)
            self._events.publish(StateChanged("signal", state, detail))

    def _publish_levels(self) -> None:
        timeline = self._timeline_of()
        if timeline is None or self._events is None:
            return
        stop = timeline.history.committed
        frames = min(round(LEVEL_S * timeline.rate), stop)
        for name, levels in _levels_now(timeline, LEVEL_S).items():
            self._events.publish(
                Level(name, stop - frames, frames, levels.peak_dbfs, levels.rms_dbfs)
            )

    def _catch_up(self) -> SessionTimeline | None:
        timeline = self._timeline_of()
        if timeline is not self._timeline:
            self._timeline = timeline
            self._cursor = TimelineFrame(0)
            self._gaps = {name: GapCounter() for name in TRACKS}
        if timeline is None:
            return None
        whole = round(WINDOW_S * timeline.rate)
        while timeline.history.committed - self._cursor >= whole:
            try:
                span = timeline.history.read(self._cursor, whole)
            except OverrunError as overrun:
                # Only when this thread had no CPU for half a minute.
                self._cursor = TimelineFrame(self._cursor + overrun.lost)
                continue
            self._cursor = TimelineFrame(self._cursor + whole)
            for track, name in enumerate(TRACKS):
                self._gaps[name].add(span, track)
            self._quality.listen(span, timeline.rate, timeline.reports)
        return timeline


def _levels_now(timeline: SessionTimeline, window_s: float = WINDOW_S) -> dict[TrackName, Levels]:
    """Return how loud the last committed second is, or another length of time."""
    committed = timeline.history.committed
    frames = min(round(window_s * timeline.rate), committed)
    try:
        span = timeline.history.read(TimelineFrame(committed - frames), frames)
    except OverrunError:
        return dict.fromkeys(TRACKS, SILENT)
    return {name: levels_of(span, track) for track, name in enumerate(TRACKS)}


def levels_of(span: Span, track: int) -> Levels:
    """Return the levels of one track of a span, over the frames that are not gaps."""
    if span.frames == 0:
        return SILENT
    ledger = TrackLedger()
    ledger.add(span.start, span.pcm[track], span.reasons[track])
    return ledger.levels(int(np.count_nonzero(span.reasons[track] == AUDIO)))
