"""Finds the turns of one session in the history ring, and posts them to its turn board."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from edgerec.audio import TimelineFrame, TrackName, TurnPart
from edgerec.clock import SECOND_NS
from edgerec.engine.plan import TurnsPlan
from edgerec.session.timeline import SessionTimeline
from edgerec.session.turn_board import SpeechGate, TurnBoard
from edgerec.sync.history import OverrunError
from edgerec.sync.synchronizer import history_frames
from edgerec.turns.detectors import Detectors
from edgerec.turns.marks import MAX_PENDING, TooManyMarksError
from edgerec.turns.segmenter import Judged, VoiceActivity
from edgerec.turns.tracker import TurnTracker
from edgerec.wire.messages import RefusedError

log = logging.getLogger(__name__)

YIELDS_S: Final = 1.0
"""Time within which an interrupted bot falls silent: the assistant's reaction, and the audio that
is on its way to the loudspeaker by then."""
PIECE_S: Final = 1.0  # processed at once; bounds the thread's own memory
CATCH_UP_S: Final = 5.0  # skipped beyond what is lost: a thread that was lapped lacks time
MAX_AHEAD_NS: Final = 10 * SECOND_NS  # of a mark; one further in the future is on a wrong clock


@dataclass(frozen=True, slots=True)
class _Told:
    """A mark on its way into the thread that tracks turns."""

    track: TrackName
    frame: TimelineFrame
    speaking: bool


@dataclass(frozen=True, slots=True)
class _Cut:
    """The frame at which a speaker was cut off, on its way into that thread."""

    track: TrackName
    frame: TimelineFrame


class SessionTurns:
    """Finds the turns of one session; for one thread, except for `mark` and `board`.

    Parameters
    ----------
    build_activity
        Builds the speech detectors; called by the first `advance`, as it may take a second.
    gate
        Receives which of the user's frames are recorded; None: all are.
    """

    def __init__(
        self,
        timeline: SessionTimeline,
        build_activity: Callable[[], VoiceActivity],
        tracker: TurnTracker,
        gate: SpeechGate | None = None,
    ) -> None:
        self.board = TurnBoard()
        """The turns known so far, for the writer thread."""
        self.gate = gate
        """Gate that decides which of the user's frames are recorded; None: all are."""
        self._timeline = timeline
        self._build_activity = build_activity
        self._activity: VoiceActivity | None = None
        self._tracker = tracker
        self._told: queue.Queue[_Told | _Cut] = queue.Queue(MAX_PENDING)
        self._position = TimelineFrame(0)  # the next frame to be processed

    def advance(self) -> bool:
        """Process all committed audio; return whether the session is complete."""
        stop = self._timeline.stop  # before the rest: what is committed reaches up to it
        history = self._timeline.history
        piece = round(PIECE_S * self._timeline.rate)
        activity = self._activity = self._activity or self._build_activity()
        self._take_marks()
        while (frames := min(history.committed - self._position, piece)) > 0:
            unjudged: list[tuple[int, int]] = []
            try:
                judged = activity.push(history.read(self._position, frames))
                self._position = TimelineFrame(self._position + frames)
            except OverrunError as overrun:
                start = self._position
                judged = self._skip(activity, overrun.lost)
                unjudged = [(start, self._position)]
            self._timeline.echo = activity.echo
            self._tell(self._tracker.push(judged), unjudged)
            self._take_marks()
        if stop is None:
            return False
        self._tell(self._tracker.push(activity.flush()))
        self._tell(self._tracker.finish(), decided=self._position)  # nothing follows
        self.end()
        return True

    def end(self) -> None:
        """End every turn in progress where it is; nothing more is processed."""
        try:
            self._tell(self._tracker.finish(), decided=TimelineFrame(0))  # what is open, stays so
        finally:
            if self.gate is not None:
                self.gate.open()
            self.board.complete()

    def mark(self, track: TrackName, at_ns: int, now_ns: int, *, speaking: bool) -> TimelineFrame:
        """Mark the instant at which a speaker takes the turn, or gives it up.

        For any thread.

        Parameters
        ----------
        at_ns, now_ns
            On CLOCK_MONOTONIC.

        Returns
        -------
        The frame that is marked.

        Raises
        ------
        RefusedError
            The instant is too far in the future, or too many marks are waiting.
        """
        ahead_ns = at_ns - now_ns
        if ahead_ns > MAX_AHEAD_NS:
            raise RefusedError(
                "bad_args",
                f"at_ns is {ahead_ns / SECOND_NS:.0f} s in the future",
                "give a time on CLOCK_MONOTONIC, or 0 for now",
            )
        frame = self._frame(at_ns)
        try:
            self._told.put_nowait(_Told(track, frame, speaking))
        except queue.Full:
            told = f"{MAX_PENDING} marks are waiting to be processed"
            raise RefusedError("busy", told, "mark turns, not words") from None
        return frame

    def cut(self, track: TrackName, at_ns: int) -> None:
        """Take in that a speaker was cut off at an instant of CLOCK_MONOTONIC; for any thread."""
        try:
            self._told.put_nowait(_Cut(track, self._frame(at_ns)))
        except queue.Full:
            log.warning("an interruption is not noted: too many marks are waiting")

    def _frame(self, at_ns: int) -> TimelineFrame:
        since_ns = at_ns - self._timeline.stamp_of(TimelineFrame(0)).monotonic_ns
        return TimelineFrame(max(0, since_ns * self._timeline.rate // SECOND_NS))

    def _take_marks(self) -> None:
        """Apply the marks that have arrived since the last call."""
        history = self._timeline.history
        reach = history.capacity - history_frames(self._timeline.rate, keep_s=0)
        gone = max(0, history.committed - reach)
        for _ in range(MAX_PENDING):
            try:
                told = self._told.get_nowait()
            except queue.Empty:
                return
            if isinstance(told, _Cut):
                self._tell(self._tracker.cut(told.track, told.frame))
                continue
            silent = self.gate.decided if told.track == "user" and self.gate else 0
            oldest = TimelineFrame(max(gone, silent))
            try:
                parts = self._tracker.mark(told.track, told.frame, oldest, speaking=told.speaking)
            except TooManyMarksError as error:
                log.warning("turn mark is ignored why=%r", str(error))
            else:
                self._tell(parts)

    def _tell(
        self,
        parts: list[TurnPart],
        unjudged: Iterable[tuple[int, int]] = (),
        decided: TimelineFrame | None = None,
    ) -> None:
        """Pass on what is new: first which frames are recorded, then which belong to turns."""
        if self.gate is not None:
            spoken = [(part.start, part.stop) for part in parts if part.speaker == "user"]
            if decided is None:
                decided = self._tracker.decided("user")
            self.gate.keep([*spoken, *unjudged], decided)
        self.board.post(parts)

    def _skip(self, activity: VoiceActivity, lost: int) -> list[Judged]:
        """Continue where there is audio again; what is lost counts as silence."""
        history = self._timeline.history
        gone = max(lost, history.committed - history.capacity - self._position)
        margin = round(CATCH_UP_S * self._timeline.rate)
        skipped = min(gone + margin, history.committed - self._position)
        log.warning(
            "turn detection is too slow, it skips audio start=%d frames=%d", self._position, skipped
        )
        self._position = TimelineFrame(self._position + skipped)
        return activity.skip_to(self._position)


def build_session_turns(plan: TurnsPlan, timeline: SessionTimeline) -> SessionTurns:
    """Return the component that finds a session's turns."""
    rate, gate = timeline.rate, None
    if plan.speech_only:
        gate = SpeechGate(round(plan.patience_s * rate), reach=timeline.history.capacity)
    return SessionTurns(
        timeline,
        partial(Detectors, rate, plan.settings.detector.user),
        TurnTracker(plan.rules(rate), yields=round(YIELDS_S * rate)),
        gate,
    )
