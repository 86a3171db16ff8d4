"""Calls a program's handlers, in order and one at a time, each with a time limit.

Two threads: one takes events in order and watches the time, the other calls. A handler that exceeds
its limit is abandoned with its thread: it is not called again until it has returned, and the events
it misses are counted. So a handler that never returns costs one thread, once.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, Literal

from edgerec.session.events import Event, EventBus

log = logging.getLogger(__name__)

_HANDLING: Final = ContextVar("handling", default=False)  # also in what a handler starts
LOOK_S: Final = 0.5  # longest delay until a thread that waits for an event notices the end


@dataclass(frozen=True, slots=True)
class HandlerCounts:
    """Counts of handler calls by outcome."""

    done: int = 0
    raised: int = 0
    overdue: int = 0
    """Number of calls that exceeded their time limit."""
    missed: int = 0
    """Number of calls not made: the handler was still busy with an earlier one, or the time to
    stop was up."""


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Counts of events so far, by outcome."""

    handlers: HandlerCounts
    dropped: int
    """Number of events that found 1000 others waiting."""


class Handler:
    """A function of the program, and whether it is busy."""

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self.name = name
        self.function = function
        """Called with a `Call`'s arguments; an awaitable result is awaited."""
        self.left_behind: threading.Event | None = None
        """Set when the call that took too long has ended; None: there is no such call."""

    @property
    def busy(self) -> bool:
        """Whether a call that took too long is still running."""
        return self.left_behind is not None and not self.left_behind.is_set()


class Call:
    """One call of a handler."""

    def __init__(self, handler: Handler, *arguments: object) -> None:
        self.handler = handler
        self.arguments = arguments
        self.ended = threading.Event()
        self.outcome: Literal["done", "raised", "overdue"] = "done"
        """How it ended."""


class Dispatcher:
    """Calls handlers, in order and one at a time, each for at most `limit_s`.

    Parameters
    ----------
    calls
        Returns the calls that an event needs; called in the dispatcher's thread.
    """

    def __init__(
        self, events: EventBus, calls: Callable[[Event], Iterable[Call]], limit_s: float
    ) -> None:
        self._calls = calls
        self._limit_s = limit_s
        # Made now: at the end of a program no thread can be started.
        self._worker: _Worker | None = _Worker(limit_s)
        self._came = threading.Event()
        self._subscription = events.subscribe(notify=self._came.set)
        self._drains: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._finish_s: float | None = None  # on time.monotonic: when the last call ends
        self._counts = HandlerCounts()  # replaced as a whole
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> EventCounts:
        """Counts of events so far."""
        return EventCounts(self._counts, self._subscription.dropped)

    def drain(self) -> bool:
        """Wait until every event that there is now was handled, for at most `limit_s`.

        Returns
        -------
        Whether all were; False at once if called from a handler.
        """
        if self.is_handling():
            return False
        drained = threading.Event()
        self._drains.put(drained)
        self._came.set()
        return drained.wait(self._limit_s)

    def finish(self) -> None:
        """Handle every event that there is, within one more `limit_s`, and end.

        From a handler it returns at once: the rest is handled after that handler.
        """
        self._finish_s = time.monotonic() + self._limit_s
        self._came.set()
        if not self.is_handling():
            self._thread.join()

    def is_handling(self) -> bool:
        """Tell whether we are called from a handler."""
        return _HANDLING.get()

    def _run(self) -> None:
        drains: list[threading.Event] = []
        while True:
            finish_s = self._finish_s  # first: what came before is handled
            self._came.clear()
            drains += [self._drains.get() for _ in range(self._drains.qsize())]
            event = self._subscription.take()
            if event is not None:
                for call in self._calls(event):
                    self._make(call)
                continue
            while drains:
                drains.pop().set()
            if finish_s is not None:
                break
            self._came.wait(LOOK_S)
        if self._worker is not None:
            self._worker.calls.put(None)
            self._worker.thread.join(max(0.0, finish_s - time.monotonic()))

    def _make(self, call: Call) -> None:
        patience_s = self._limit_s
        if self._finish_s is not None:
            patience_s = min(patience_s, self._finish_s - time.monotonic())
        name = call.handler.name
        if call.handler.busy or patience_s <= 0:
            if self._counts.missed % 100 == 0:  # each of them would be a line per event
                log.warning("event not handled, its handler is busy handler=%s", name)
            self._count("missed")
            return
        if self._worker is None:
            self._worker = _Worker(self._limit_s)
        self._worker.calls.put(call)
        ended = call.ended.wait(patience_s)
        outcome = call.outcome if ended else "overdue"
        if not ended:
            call.handler.left_behind = call.ended
            self._worker.calls.put(None)  # it ends when this call does
            self._worker = None
        self._count(outcome)
        if outcome == "overdue":
            log.error("handler takes too long handler=%s limit_s=%.1f", name, patience_s)

    def _count(self, outcome: str) -> None:
        self._counts = replace(self._counts, **{outcome: getattr(self._counts, outcome) + 1})


class _Worker:
    """A thread that calls, one after the other, until it is given None.

    It never keeps the process from ending.
    """

    def __init__(self, limit_s: float) -> None:
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._limit_s = limit_s
        self.thread = threading.Thread(target=self._run, name="handlers", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        _HANDLING.set(True)
        with asyncio.Runner() as runner:  # makes its loop when something is awaited
            while (call := self.calls.get()) is not None:
                self._make(call, runner)

    def _make(self, call: Call, runner: asyncio.Runner) -> None:
        try:
            result = call.handler.function(*call.arguments)
            if inspect.isawaitable(result) and runner.run(_expires(result, self._limit_s)):
                call.outcome = "overdue"
        except BaseException:
            # Any exception, even SystemExit, is the handler's own and ends nothing else.
            call.outcome = "raised"
            log.exception("handler raised handler=%s", call.handler.name)
        finally:
            call.ended.set()


async def _expires(awaitable: Awaitable[object], limit_s: float) -> bool:
    """Await something; return whether it was cancelled because it took too long."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            await awaitable
    except TimeoutError:  # it may also be the handler's own
        if not limit.expired():
            raise
    return limit.expired()
