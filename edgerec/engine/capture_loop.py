"""The recorder thread: from the sources through the synchronizer into sessions' history rings.

Waits for pipes only. It never touches the disk and never waits for readers of the history.
"""

from __future__ import annotations

import logging
import select
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from edgerec.audio import Delivery, GapReason, StreamEnded, StreamHeader, TrackName
from edgerec.engine.plan import PACE_MS, Plan
from edgerec.engine.sessions import Sessions
from edgerec.engine.sources import Source
from edgerec.session.events import Event, RecorderState, StateChanged
from edgerec.sync.synchronizer import TrackPlan
from edgerec.waker import Waker

log = logging.getLogger(__name__)

TICK_MS: Final = 250  # longest time between polls of a source that can't wait, or is in trouble


class CaptureLoop:
    """Sources in, sessions' timelines out.

    `run` belongs to the recorder thread; `wake` and `stop` may be called from any thread.

    Parameters
    ----------
    sessions
        Whose listeners hear what each device delivers, in a pause too, and of the session's
        timeline when it may have grown, or have ended.
    publish
        Called with an event when a source or the recording changes its state.
    pace_ms
        Time between polls of stamped sources while nobody listens live.
    """

    def __init__(
        self,
        sources: Mapping[TrackName, Source],
        sessions: Sessions,
        *,
        publish: Callable[[Event], None] = lambda event: None,
        pace_ms: int = PACE_MS,
    ) -> None:
        self._sources = dict(sources)
        self._changes: deque[Callable[[], None]] = deque()
        self._sessions = sessions
        self._synchronizer = sessions.synchronizer
        self._requests = sessions.requests
        self._listeners = sessions.listeners
        self._clock = sessions.clock
        self._rounds = 0
        self._publish = publish
        self._pace_ms = pace_ms
        self._end_ns: int | None = None
        self._told: dict[TrackName, StreamHeader] = {}  # the log, of what each track delivers
        self._announced: dict[str, str] = {}  # the last state of the recorder and of each track
        self._ended = False
        self._waker = Waker()

    @property
    def rounds(self) -> int:
        """Number of completed steps of the loop; a sign of life. For any thread."""
        return self._rounds

    def run(self) -> None:
        """Capture until stopped; then release the devices."""
        try:
            while True:
                self.step(self._clock.now_ns())
                self._rounds += 1
                if self._ended:
                    return
                self._wait()
        finally:
            try:
                for source in self._sources.values():
                    source.close()
            finally:
                for listener in self._listeners:
                    listener.over()

    def stop(self) -> None:
        """End the session and the loop; what was sampled by now is still recorded."""
        if self._end_ns is None:
            self._end_ns = self._clock.now_ns()
        self.wake()

    def wake(self) -> None:
        """Make the loop check for work."""
        self._waker.set()

    def close(self) -> None:
        """Release the loop's wake-up descriptor; the loop must have ended."""
        self._waker.close()

    def step(self, now_ns: int) -> None:
        """Take in what there is, and bring the timeline up to `now_ns`."""
        end_ns = self._end_ns
        with self._requests.lock:
            self._sessions.notice_suspension(now_ns)
            self._sessions.heed(end_ns)
            while self._changes:
                self._changes.popleft()()
            for name, source in self._sources.items():
                for delivery in source.deliver(now_ns):
                    self._log_state(name, delivery)
                    for listener in self._listeners:
                        listener.delivered(name, delivery)
                    self._synchronizer.deliver(name, delivery)
                self._synchronizer.note_held(name, source.held_since_ns)
            ending = self._sessions.timeline
            self._sessions.advance(now_ns)
            state = self._sessions.state
        self._ended = state == "idle" and (end_ns is not None or self._sessions.is_last_over)
        self._publish_states(state)
        timeline = self._sessions.timeline or ending
        if timeline is not None:
            for listener in self._listeners:  # last: a notified thread would wait for our GIL
                listener.committed(timeline)

    def follow(self, plan: Plan, sources: Mapping[TrackName, Source | None]) -> None:
        """Place and wait for the tracks as another plan says; for any thread.

        Parameters
        ----------
        sources
            Take the place of these tracks' sources; None: the track has none any more.
        """
        self._changes.append(partial(self._follow, plan, sources))
        self.wake()

    def _follow(self, plan: Plan, sources: Mapping[TrackName, Source | None]) -> None:
        for track, source in sources.items():
            self._replace(track, source, plan.tracks.get(track))
        self._synchronizer.adjust(plan.tracks, plan.late_s)

    def _replace(self, track: TrackName, source: Source | None, plan: TrackPlan | None) -> None:
        before = self._sources.pop(track, None)
        if before is not None:
            before.close()
            gone = StreamEnded(GapReason.ABSENT, "another source is configured")
            for listener in self._listeners:
                listener.delivered(track, gone)
        self._synchronizer.replace(track, plan)
        self._told.pop(track, None)
        if source is not None:
            self._sources[track] = source

    def _wait(self) -> None:
        """Wait for sources that can't wait, or until the next poll of those that can."""
        if self._sessions.behind:
            return
        sources = self._sources.values()
        awaited = self._sessions.state in ("waiting", "ending") or any(
            listener.is_live for listener in self._listeners
        )
        hurried = [source for source in sources if awaited or not source.unhurried]
        pipes = [pipe for source in hurried if (pipe := source.fileno()) is not None]
        ready = select.poll()
        for fd in (self._waker.fileno(), *pipes):
            ready.register(fd, select.POLLIN)
        if ready.poll(TICK_MS if hurried else self._pace_ms):
            self._waker.clear()

    def _publish_states(self, state: RecorderState) -> None:
        self._publish_change("recorder", state, "")
        for name, source in self._sources.items():
            self._publish_change(name, source.state.name, source.state.detail)

    def _publish_change(
        self, of: Literal["recorder", "user", "bot"], state: str, detail: str
    ) -> None:
        if self._announced.get(of) != state:
            self._announced[of] = state
            self._publish(StateChanged(of, state, detail))

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
