"""The turn thread: finds the turns of one session after the other.

It waits for nothing and nothing waits for it. Where it does not keep up, or fails, turns are lost
and that is reported; the recording continues.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from edgerec.audio import Played, TimelineFrame, TrackName
from edgerec.clock import Clock
from edgerec.engine.session_turns import SessionTurns
from edgerec.session.timeline import Listener, SessionTimeline
from edgerec.wire.messages import RefusedError

log = logging.getLogger(__name__)

STEP_S: Final = 0.25  # between two steps, when nothing is committed
WORTH_S: Final = 0.15  # of audio is worth a step: the recorder thread commits five times a second


class TurnLoop(Listener):
    """Finds turns; `run` belongs to the turn thread.

    Parameters
    ----------
    build_turns
        Called for a session when it begins.
    on_ended
        Called when turns have ended, by the turn thread; must not block.
    """

    def __init__(
        self,
        clock: Clock,
        build_turns: Callable[[SessionTimeline], SessionTurns],
        on_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._build_turns = build_turns
        self._sessions: deque[SessionTurns] = deque()  # the last may be in progress
        self._on_ended = on_ended
        self._noticed = 0  # frames of the session in progress, at the last notice
        self._awake = threading.Event()
        self._closing = False
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Reason why the session's turns are no longer found; None: they are. For any thread."""
        return self._trouble

    def begun(self, timeline: SessionTimeline) -> None:
        """Find the turns of this session; for the recorder thread."""
        turns = self._build_turns(timeline)
        timeline.turns, timeline.gate = turns.board, turns.gate
        self._trouble = None  # another session, other detectors
        self._sessions.append(turns)
        self._noticed = 0

    def committed(self, timeline: SessionTimeline) -> None:
        """Note that a session's timeline has grown, or has ended; for the recorder thread."""
        committed = timeline.history.committed
        if timeline.stop is not None or committed - self._noticed >= WORTH_S * timeline.rate:
            self._noticed = committed
            self._awake.set()

    def over(self) -> None:
        """End the thread, once it has processed what is committed by now; for any thread."""
        self._closing = True
        self._awake.set()

    def run(self) -> None:
        """Find turns until `over`."""
        while not self._closing:
            self._awake.wait(STEP_S)
            self._awake.clear()
            self.step()
        self.step()

    def step(self) -> None:
        """Process what is committed, of each session that is not processed to its end."""
        ended = False
        for turns in tuple(self._sessions):
            before = turns.board.ended
            try:
                done = turns.advance()
            except Exception as error:
                # A detector's fault: it costs the turns of a session, not the recording.
                log.exception("turns are no longer found in this session")
                self._trouble = f"{type(error).__name__}: {error}"
                with contextlib.suppress(Exception):  # what is broken may be broken at its end too
                    turns.end()
                done = True
            if done:
                self._sessions.remove(turns)
            ended = ended or turns.board.ended > before
        if ended:
            self._on_ended()

    def cut(self, played: Played) -> None:
        """Take in that what a speaker said was cut off; for any thread."""
        sessions = tuple(self._sessions)
        if sessions and played.last_ns is not None:
            sessions[-1].cut(played.track, played.last_ns)

    def mark(self, track: TrackName, at_ns: int, *, speaking: bool) -> TimelineFrame:
        """Mark the instant at which a speaker takes the turn, or gives it up.

        For any thread.

        Parameters
        ----------
        at_ns
            Instant on CLOCK_MONOTONIC; 0: now.

        Returns
        -------
        The frame that is marked.

        Raises
        ------
        RefusedError
            No session is recorded, the instant is too far ahead, or too many marks are waiting.
        """
        sessions = tuple(self._sessions)
        if not sessions:
            raise RefusedError("not_recording", "nothing is being recorded", "start first")
        now_ns = self._clock.read().monotonic_ns
        return sessions[-1].mark(track, at_ns or now_ns, now_ns, speaking=speaking)
