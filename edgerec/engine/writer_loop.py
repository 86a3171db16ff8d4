"""The writer thread: from the history ring to files. It may wait for the disk, nothing for it.

A disk that fails does not end the recording. What can't be written stays in the ring, as long as
that holds it, and is written when the disk works again; what the ring no longer holds is declared
lost. Nothing here grows meanwhile.

Publishing fails separately: finished files wait in the work folder, which alone decides whether
audio is lost. A session that ends meanwhile is left to recovery as soon as another one begins.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from edgerec.audio import Span
from edgerec.clock import SECOND_NS, Clock
from edgerec.engine.copying import write_committed, write_turns
from edgerec.engine.housekeeping import Housekeeping
from edgerec.engine.plan import Current, Plan
from edgerec.engine.recording_events import RecordingEvents
from edgerec.engine.retrying import LAST_RETRY_S, Retrying
from edgerec.health.verdict import WritingState
from edgerec.session.events import Event, StateChanged
from edgerec.session.timeline import Backlog, Listener, SessionTimeline, WritingProgress, backlog_of
from edgerec.store.disk import StoreError
from edgerec.store.writing.recording import Recording

log = logging.getLogger(__name__)

WRITE_S: Final = 0.25  # of audio is worth a step: what is not written yet dies with the process
IDLE_S: Final = 1.5  # between two steps, when nothing is committed
MAX_UNWRITTEN: Final = 2  # sessions with a history each: one ends while the next one begins
LAST_PUBLISH_RETRY_S: Final = 8.0  # a failure is reported for at most this long after its end


class Files(Protocol):
    """Where a session's files come from, and what becomes of those that can't be published."""

    def open(self, plan: Plan, timeline: SessionTimeline) -> Recording:
        """Open the files of a session under the next number; waits for the disk."""
        ...

    def recover(self) -> None:
        """Take note that recovery can do more than before.

        A session is left to it, which has ended and can't be published, or the disk works again,
        which may be what kept leftovers waiting.
        """
        ...


class WriterLoop(Listener):
    """Sessions' timelines in, one after the other, their files out.

    `run` belongs to the writer thread. A plan that takes another's place while a session is written
    applies to its files from the next step on.

    Parameters
    ----------
    house
        Other work that waits for the disk, done before every step.
    publish
        Called with the events of each session's begin and end, its gaps, and disk failures.
    """

    def __init__(
        self,
        current: Current,
        files: Files,
        clock: Clock,
        house: Housekeeping,
        publish: Callable[[Event], None],
    ) -> None:
        self._current = current
        self._files = files
        self._clock = clock
        self._house = house
        self._tell = publish
        self._timelines: deque[SessionTimeline] = deque()  # the first is being written
        self._recording: Recording | None = None
        self._plan = current.plan  # of that recording
        self._events: RecordingEvents | None = None  # of that recording
        self._synced_ns = 0
        self._stepped_ns = 0  # the last time
        self._writing = Retrying(LAST_RETRY_S)
        self._publishing = Retrying(LAST_PUBLISH_RETRY_S)
        self.state = WritingState()
        """State of writing; replaced as a whole, for any thread."""
        self._rounds = 0
        self._awake = threading.Event()
        self._closing = False

    @property
    def progress(self) -> int:
        """A number that changes with every piece written and step done; for any thread."""
        recording = self._recording
        return self._rounds + (0 if recording is None else recording.position)

    def backlog(self) -> Backlog:
        """Return what is captured and not durable; for any thread, and while the disk hangs."""
        progress = self.state.progress  # first, see `backlog_of`
        return backlog_of(tuple(self._timelines), progress)

    @property
    def unwritten(self) -> int:
        """Number of sessions that are not complete on the disk; for any thread."""
        return len(self._timelines)

    @property
    def has_room(self) -> bool:
        """Whether another session may begin while others are not complete on the disk."""
        return len(self._timelines) < MAX_UNWRITTEN

    def begun(self, timeline: SessionTimeline) -> None:
        """Record this session, once those before it are written; for the recorder thread."""
        self._timelines.append(timeline)

    def committed(self, timeline: SessionTimeline) -> None:
        """Note that a session's timeline has grown, or has ended; for the recorder thread."""
        ahead = timeline.history.committed - self.state.progress.written
        begins_or_ends = self._recording is None or timeline.stop is not None
        if begins_or_ends or ahead >= WRITE_S * timeline.rate:
            self._awake.set()

    def wake(self) -> None:
        """Take a step now: a turn has ended, and programs wait for its event. For any thread."""
        self._awake.set()

    def over(self) -> None:
        """Write what is committed by now and end; for any thread."""
        self._closing = True
        self._awake.set()

    def run(self) -> None:
        """Write until `over`.

        Raises
        ------
        StoreError
            The disk failed at the end. What it has of the session is left for recovery, what it
            has not is lost.
        """
        while not self._closing:
            self._awake.wait(IDLE_S)
            self._awake.clear()
            self.step()
        for _ in range(2 + len(self._timelines)):  # a failure that is over by now costs nothing
            self._writing.hurry()
            self._publishing.hurry()
            self.step()
        failure = self._writing.failure or self._publishing.failure
        if failure is not None:
            raise failure

    def step(self) -> None:
        """Write what is committed; publish what is complete. Try again what has failed."""
        self._rounds += 1
        now_ns = self._clock.now_ns()
        self._house.step(now_ns)  # first, and in trouble too: it may be what makes room
        if self._writing.is_due(now_ns):
            try:
                self._advance(now_ns)
            except StoreError as error:
                self._note_failure(error, now_ns)
            else:
                self._note_success(now_ns)
        if self._publishing.is_due(now_ns):
            try:
                self._publish()
            except StoreError as error:
                self._note_unpublishable(error, now_ns)
            else:
                self._note_publishable()
        self._leave_ended()

    def _advance(self, now_ns: int) -> None:
        if not self._timelines or (self._recording is not None and self._recording.ended):
            return
        timeline = self._timelines[0]
        if self._recording is None:
            self._recording = self._open(timeline)
        elif self._writing.failure is not None:
            self._recording.resume()
        recording = self._recording
        last = self._closing  # before the stop, or both: then there will be none
        stop = timeline.stop  # before the rest: what follows reaches up to it
        write_committed(recording, timeline, self._note_span, last=last or stop is not None)
        if timeline.turns is not None:
            write_turns(recording, timeline, timeline.turns, last=stop is not None)
        self._follow_plan(recording, timeline)
        self._note_progress(recording, timeline)
        if stop is not None:
            recording.end(timeline.end_reason)
            self._note_progress(recording, timeline)
            return
        to_the_next_ns = now_ns - self._stepped_ns  # as long as from the last one to this
        self._stepped_ns = now_ns
        sync_ns = round(self._current.plan.session.sync_s * SECOND_NS)
        if now_ns + to_the_next_ns / 2 - self._synced_ns >= sync_ns:
            recording.sync()
            self._synced_ns = now_ns
            self._note_progress(recording, timeline)

    def _follow_plan(self, recording: Recording, timeline: SessionTimeline) -> None:
        """Continue the files as another plan says, unless another session begins by it."""
        plan = self._current.plan
        if plan is not self._plan and plan.session == self._plan.session:
            recording.reshape(plan.form(timeline.rate))
            self._plan = plan

    def _note_progress(self, recording: Recording, timeline: SessionTimeline | None) -> None:
        progress = WritingProgress(
            timeline, recording.resumes_at, recording.durable, recording.missing_frames
        )
        self.state = replace(
            self.state,
            progress=progress,
            unpublished=recording.unpublished,
            quarantined=recording.quarantined,
        )

    def _open(self, timeline: SessionTimeline) -> Recording:
        self._plan = self._current.plan
        recording = self._files.open(self._plan, timeline)
        self._events = RecordingEvents(recording.session, timeline, self._tell)
        return recording

    def _publish(self) -> None:
        """Publish what is complete; all of a session that has ended, unless another one waits."""
        recording = self._recording
        if recording is None:
            return
        try:
            recording.publish_due()
            while recording.ended and recording.unpublished and len(self._timelines) == 1:
                recording.publish_due()
                self._rounds += 1  # there may be a day of them: this shows progress
            if recording.ended and not recording.unpublished:
                recording.close()
        finally:
            self._note_progress(recording, self._timelines[0])

    def _leave_ended(self) -> None:
        """Proceed to the next session when this one is complete, or can't be while that waits."""
        recording = self._recording
        if recording is None or not recording.ended:
            return
        if not recording.closed:
            if len(self._timelines) == 1:
                return
            recording.leave()
            self._files.recover()
        events, timeline = self._events, self._timelines.popleft()
        self._recording = self._events = None
        self._note_progress(recording, None)
        if events is not None:
            events.finish(recording.position, timeline.end_reason)

    def _note_span(self, span: Span) -> None:
        if self._recording is not None:  # after each piece: catching up takes a while
            self._note_progress(self._recording, self._timelines[0])
        if self._events is not None:
            self._events.watch(span)

    def _note_failure(self, error: StoreError, now_ns: int) -> None:
        if self._writing.failed(error, now_ns):
            log.error("disk error; buffering in memory why=%r", str(error))
            self.state = replace(self.state, trouble=str(error), since_ns=now_ns)
            self._tell(StateChanged("disk", "failing", str(error)))
        if self._recording is not None:
            self._note_progress(self._recording, self._timelines[0])

    def _note_success(self, now_ns: int) -> None:
        since_ns = self._writing.since_ns
        if not self._writing.worked():
            return
        seconds = (now_ns - since_ns) / SECOND_NS
        log.warning(
            "the disk works again after_s=%.1f lost_frames=%d",
            seconds,
            self.state.progress.lost_frames,
        )
        self.state = replace(self.state, trouble=None, since_ns=now_ns)
        self._tell(StateChanged("disk", "ok", ""))
        self._files.recover()

    def _note_unpublishable(self, error: StoreError, now_ns: int) -> None:
        self._publishing.failed(error, now_ns)
        if self._writing.failure is not None:
            return  # the disk itself fails, which is reported already
        if self.state.unpublishable is None:
            log.error("nothing can be published, files wait in .work why=%r", str(error))
        self.state = replace(self.state, unpublishable=str(error))

    def _note_publishable(self) -> None:
        self._publishing.worked()
        if self.state.unpublishable is not None:
            log.warning("files can be published again")
            self.state = replace(self.state, unpublishable=None)
            self._files.recover()
