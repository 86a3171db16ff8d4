"""The queue of requests to the recorder: filled by any thread, emptied by the recorder thread.

A request is answered at once, because its outcome is known before it is carried out.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from edgerec.clock import Clock
from edgerec.store.records.sidecar import EndReason
from edgerec.wire.messages import RefusedError

MAX_WAITING: Final = 64
"""Maximum number of waiting requests. The recorder thread takes them within milliseconds, but a
start waits for the end of the previous session, up to some seconds."""

Verb = Literal["start", "stop", "pause", "resume", "rotate"]
Wanted = Literal["idle", "recording", "paused"]


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A request, and the instant from which it applies."""

    verb: Verb
    at_ns: int
    """Instant of the request on CLOCK_MONOTONIC_RAW."""
    reason: EndReason = "stop"
    """Reason why a session is stopped."""


class SessionRequests:
    """A bounded queue of requests, and the state that they lead to.

    Attributes
    ----------
    lock
        The recorder thread holds it while it places audio. So the instant of a pause is after
        everything placed so far, and nothing sampled in the pause can have been placed.
    """

    def __init__(self, clock: Clock, *, started: bool) -> None:
        self.lock = threading.RLock()  # a signal may come while the main thread holds it
        self._clock = clock
        self._waiting: deque[SessionRequest] = deque()
        self._closed = False
        self.wanted: Wanted = "idle"
        """What the recorder will be doing once every request is carried out."""
        if started:
            self.ask("start")

    def ask(self, verb: Verb, *, reason: EndReason = "stop", at_ns: int | None = None) -> bool:
        """Request something as of now; return whether it changes anything.

        Parameters
        ----------
        at_ns
            Instant to use instead of now, but not before those of waiting requests.

        Raises
        ------
        RefusedError
            There is nothing to pause, resume or rotate; or too many requests are waiting; or the
            recorder has ended.
        """
        with self.lock:
            self.check_open()
            wanted = self._becomes(verb)
            if wanted == self.wanted and verb != "rotate":
                return False
            if verb == "stop" and self._withdraw_start():
                self.wanted = wanted
                return True
            self._check_room(1)
            if at_ns is None:
                at_ns = self._clock.now_ns()
            elif self._waiting:
                at_ns = max(at_ns, self._waiting[-1].at_ns)
            self._waiting.append(SessionRequest(verb, at_ns, reason))
            self.wanted = wanted
            return True

    def restart(self, reason: EndReason = "reload", stopped_ns: int | None = None) -> None:
        """Request a new session in place of the one in progress, paused if that one is.

        Parameters
        ----------
        reason
            End reason of the one in progress.
        stopped_ns
            When it ends; None: now, where the new one begins.
        """
        with self.lock:
            wanted = self.wanted
            if wanted == "idle":
                return
            self._check_room(3)
            self.ask("stop", reason=reason, at_ns=stopped_ns)
            self.ask("start")
            if wanted == "paused":
                self.ask("pause")

    def check_open(self) -> None:
        """Make sure that the recorder has not ended; call it with the lock held.

        Raises
        ------
        RefusedError
            The recorder has ended.
        """
        if self._closed:
            raise RefusedError("stopped", "the recorder has ended", "start another one")

    def close(self) -> None:
        """Refuse everything from now on: the recorder has ended."""
        with self.lock:
            self._closed = True

    def next(self) -> SessionRequest | None:
        """Return the oldest request; for the recorder thread, which holds the lock."""
        return self._waiting[0] if self._waiting else None

    def fulfilled(self) -> None:
        """Remove the oldest request; for the recorder thread, which holds the lock."""
        self._waiting.popleft()

    def drop(self) -> None:
        """Drop all requests: the recorder ends. For the recorder thread, which holds the lock."""
        self._waiting.clear()
        self.wanted = "idle"

    def _becomes(self, verb: Verb) -> Wanted:
        if verb == "stop":
            return "idle"
        if verb == "start":
            return "recording" if self.wanted == "idle" else self.wanted
        if self.wanted == "idle":
            raise RefusedError("not_recording", "nothing is being recorded", "start first")
        if verb == "rotate":
            return self.wanted
        return "paused" if verb == "pause" else "recording"

    def _check_room(self, requests: int) -> None:
        if len(self._waiting) + requests > MAX_WAITING:
            raise RefusedError(
                "busy", f"{MAX_WAITING} requests are already waiting", "send fewer requests"
            )

    def _withdraw_start(self) -> bool:
        """Withdraw a start that still waits, with the requests after it."""
        verbs = [request.verb for request in self._waiting]
        if "start" not in verbs:
            return False
        while self._waiting.pop().verb != "start":
            continue
        return True
