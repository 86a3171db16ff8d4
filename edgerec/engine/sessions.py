"""Begins and ends sessions on request. For the recorder thread.

The devices deliver all the time; a session is the part of it between a start and a stop. Each has
a timeline of its own; `session_start` says where it begins.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from edgerec.audio import TimelineFrame
from edgerec.clock import SECOND_NS, Clock
from edgerec.engine.plan import Current
from edgerec.engine.session_start import LatestTrack, SessionStart
from edgerec.session.events import RecorderState
from edgerec.session.requests import SessionRequest, SessionRequests
from edgerec.session.timeline import Listener, SessionTimeline
from edgerec.stamps import LiveStamps
from edgerec.store.records.sidecar import EndReason
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, history_frames
from edgerec.wire.messages import RefusedError

log = logging.getLogger(__name__)

TAIL_NS: Final = 2 * SECOND_NS  # after a stop and the longest offset, for what devices still hold
MIN_PAUSE_NS: Final = SECOND_NS // 4  # each ends a file: nobody may make hundreds in a second
SLEPT_NS: Final = SECOND_NS // 2  # no suspension is shorter, and no two readings differ this much
MIN_CHUNK_NS: Final = SECOND_NS // 10  # between two rotations, as for `chunk_seconds`


class Sessions:
    """One session after the other.

    Parameters
    ----------
    listeners
        Called with each session when it begins; none begins until all of them have room.
    current
        Has the plan that a session begins by, and is given the session in progress.
    length_s
        The first session ends by itself after this long, and nothing more is captured; None: only a
        stop ends it.
    start
        Decides where a session's timeline begins; None: with the latest track.
    """

    def __init__(
        self,
        synchronizer: Synchronizer,
        requests: SessionRequests,
        clock: Clock,
        listeners: Sequence[Listener],
        current: Current,
        *,
        length_s: float | None = None,
        start: SessionStart | None = None,
    ) -> None:
        self.synchronizer = synchronizer
        """Places what the devices deliver."""
        self.requests = requests
        """Requests to begin, end and change sessions."""
        self.clock = clock
        self.listeners = tuple(listeners)
        """Whatever hears the recording."""
        self._current = current
        self._length_s = length_s
        self._start = start or LatestTrack()
        self._started_ns: int | None = None  # None: no session is wanted
        self._stop_ns: int | None = None
        self._end_reason: EndReason = "stop"
        self._paused = False
        self._paused_ns = 0  # when the last pause began
        self._resumed_ns = 0  # until when it lasts, if it has ended
        self._rotated_ns = 0
        self._slept_ns = clock.read().slept_ns
        self._awake_ns = clock.now_ns()  # the last instant known to be before any other suspension
        self._woken_ns = 0  # no session begins earlier: older audio may be from before the sleep
        self.behind = False
        """Whether there is more to commit than one step took."""
        self.ended = 0
        """Number of sessions that have begun."""
        self._committed_before = 0  # frames of those

    @property
    def timeline(self) -> SessionTimeline | None:
        """Timeline of the session in progress; None while there is none. For any thread."""
        return self._current.timeline

    @property
    def is_last_over(self) -> bool:
        """Whether a session of a given length has ended, and no other follows."""
        return self._length_s is not None and self.ended > 0

    @property
    def progress(self) -> int:
        """Counter over all sessions; changes with every frame committed and every session ended.

        So it never repeats, not even for sessions of the same length. For any thread.
        """
        timeline, before = self._current.timeline, self._committed_before + self.ended
        return before + (0 if timeline is None else timeline.history.committed)

    @property
    def held_up(self) -> bool:
        """Whether a session that should be recorded has no room for its history. For any thread."""
        return (
            self._started_ns is not None and self._current.timeline is None and not self._has_room()
        )

    @property
    def state(self) -> RecorderState:
        """State of the recorder. For any thread."""
        if self._started_ns is None:
            return "idle"
        if self._stop_ns is not None and self._stop_ns <= self.clock.now_ns():
            return "ending"
        if self._current.timeline is None:
            return "waiting"
        return "paused" if self._paused else "recording"

    def heed(self, end_ns: int | None) -> None:
        """Carry out the requests. Call it before taking in audio, which may be from a pause.

        Parameters
        ----------
        end_ns
            When the recorder ends: a session is stopped by then, and no other begins; None: it
            does not.
        """
        while (request := self.requests.next()) is not None and self._take(request):
            self.requests.fulfilled()
        if end_ns is not None:
            self.requests.drop()
            if self._stop_ns is None or end_ns < self._stop_ns:
                self._stop_ns = end_ns
                self._tell_stopped(end_ns)

    def notice_suspension(self, now_ns: int) -> None:
        """End the session where the machine was suspended, and begin another one after that.

        Call it before `heed`. The timeline's clock stops during suspension: audio from before and
        after would be adjacent, though hours lie between.
        """
        slept_ns = self.clock.read().slept_ns - self._slept_ns
        if slept_ns >= SLEPT_NS:
            if self._current.timeline is not None:
                try:
                    self.requests.restart("suspend", self._awake_ns)
                except RefusedError:
                    return  # too many requests at present; the next call finds it again
            self._woken_ns = now_ns
            log.warning("the machine was suspended seconds=%.1f", slept_ns / SECOND_NS)
            self._slept_ns += slept_ns
        self._awake_ns = now_ns

    def advance(self, now_ns: int) -> None:
        """Bring the timeline up to `now_ns`; begins and ends the session when due."""
        if self._started_ns is None:
            return
        timeline = self._current.timeline or self._begin(now_ns)
        if timeline is None:
            if self._stop_ns is not None:
                self._started_ns = None
            return
        # No further than the stop: the silence of an overdue track would run past it.
        self.behind = self.synchronizer.advance(min(now_ns, self._stop_ns or now_ns))
        timeline.reports = self.synchronizer.report()
        self._end(timeline, now_ns)

    def _take(self, request: SessionRequest) -> bool:
        """Carry out a request; return whether that was possible by now."""
        match request.verb:
            case "start":
                if self._started_ns is not None:
                    return False  # the session before still ends
                self._started_ns = request.at_ns
                self._start.again()
                self._stop_ns = None
                self._paused = False
                self._paused_ns = self._resumed_ns = self._rotated_ns = 0
            case "stop":
                self._stop_ns = min(request.at_ns, self._stop_ns or request.at_ns)
                self._end_reason = request.reason
                if request.reason != "reload":  # there it continues on the next frame
                    self._tell_stopped(request.at_ns)
            case "pause":
                self._pause(request.at_ns)
            case "resume":
                self._resume(request.at_ns)
            case "rotate":
                self._rotate(request.at_ns)
        return True

    def _tell_stopped(self, at_ns: int) -> None:
        for listener in self.listeners:
            listener.stopped(at_ns)

    def _pause(self, at_ns: int) -> None:
        log.info("recording is paused")
        self._paused = True
        if self._current.timeline is not None:
            going_on = at_ns < self._resumed_ns
            start = self.synchronizer.pause(at_ns)
            if not going_on:
                self._current.timeline.cut(start, "pause")
                self._paused_ns = at_ns

    def _resume(self, at_ns: int) -> None:
        log.info("recording is resumed")
        self._paused = False
        self._resumed_ns = at_ns
        if self._current.timeline is None:
            self._started_ns = at_ns  # what was sampled before may be from the pause
            return
        self._resumed_ns = max(at_ns, self._paused_ns + MIN_PAUSE_NS)
        self.synchronizer.resume(self._resumed_ns)

    def _rotate(self, at_ns: int) -> None:
        if self._current.timeline is not None and at_ns - self._rotated_ns >= MIN_CHUNK_NS:
            at = self.synchronizer.frame_at(at_ns)
            self._current.timeline.cut(max(at, self._current.timeline.history.committed), "rotate")
            self._rotated_ns = at_ns

    def _begin(self, now_ns: int) -> SessionTimeline | None:
        assert self._started_ns is not None
        if not self._has_room():
            return None
        epoch_ns = self._start.epoch_ns(
            self.synchronizer,
            now_ns,
            max(self._started_ns, self._woken_ns),
            stopped=self._stop_ns is not None,
        )
        if epoch_ns is None:
            return None
        headers = {n: self.synchronizer.header(n) for n in self.synchronizer.tracks}
        plan = self._current.plan.session
        rate = plan.rate({name: header for name, header in headers.items() if header})
        history = History(history_frames(rate, plan.history_s))
        self.synchronizer.begin(epoch_ns, rate, history)
        self._current.timeline = timeline = SessionTimeline(
            rate, history, LiveStamps(self.clock, epoch_ns, rate), self.synchronizer.report()
        )
        if self._paused:
            self.synchronizer.pause(epoch_ns)
        if self._length_s is not None and self._stop_ns is None:
            self._stop_ns = epoch_ns + round(self._length_s * SECOND_NS)
        log.info("session begins rate=%d", rate)
        for listener in self.listeners:
            listener.begun(timeline)
        return timeline

    def _has_room(self) -> bool:
        return all(listener.has_room for listener in self.listeners)

    def _end(self, timeline: SessionTimeline, now_ns: int) -> None:
        """End the session where it was stopped, once all of its audio has come or is overdue."""
        if self._stop_ns is None or now_ns < self._stop_ns or self.behind:
            return
        stop = max(self.synchronizer.frame_at(self._stop_ns), timeline.history.committed)
        overdue_ns = self._stop_ns + self.synchronizer.longest_offset_ns + TAIL_NS
        if self.synchronizer.received(stop, now_ns) or now_ns > overdue_ns:
            stop = self.synchronizer.finish(TimelineFrame(stop))
            timeline.reports = self.synchronizer.report()
            timeline.end_reason = self._end_reason
            timeline.stop = stop  # last: the writer looks for it
            log.info("session ends frames=%d reason=%s", stop, self._end_reason)
            self.synchronizer.leave(stop)
            self._current.timeline = None
            self._started_ns = None
            self._committed_before += timeline.history.committed
            self.ended += 1
