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
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

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


EventSource = Callable[[], "Sequence[Call] | None"]
"""Returns the calls that the next event needs; None: there is no event."""


@dataclass(frozen=True, slots=True)
class Call:
    """One handler with its arguments."""

    handler: Handler
    run: Callable[[], object]
    """Calls the handler; an awaitable result is awaited."""


class Handler:
    """A function of the program, and whether it is busy."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.left_behind: threading.Event | None = None
        """Set when the call that took too long has ended; None: there is no such call."""

    @property
    def busy(self) -> bool:
        """Whether a call that took too long is still running."""
        return self.left_behind is not None and not self.left_behind.is_set()


class Dispatcher:
    """Calls handlers, in order and one at a time, each for at most `limit_s`.

    Parameters
    ----------
    source
        Called in the dispatcher's thread until it has no more events.
    came
        Set by callers that have an event.
    """

    def __init__(self, source: EventSource, limit_s: float, came: threading.Event) -> None:
        self._source = source
        self._limit_s = limit_s
        # Made now: at the end of a program no thread can be started.
        self._worker: _Worker | None = _Worker(limit_s)
        self._came = came
        self._drains: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._finish_s: float | None = None  # on time.monotonic: when the last call ends
        self.counts = HandlerCounts()
        """Counts so far; replaced as a whole."""
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

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
            finishing = self._finish_s is not None  # first: what came before is handled
            self._came.clear()
            drains += [self._drains.get() for _ in range(self._drains.qsize())]
            calls = self._source()
            if calls is not None:
                for call in calls:
                    self._make(call)
                continue
            while drains:
                drains.pop().set()
            if finishing:
                break
            self._came.wait(LOOK_S)
        if self._worker is not None:
            self._worker.calls.put(None)

    def _make(self, call: Call) -> None:
        patience_s = self._limit_s
        if self._finish_s is not None:
            patience_s = min(patience_s, self._finish_s - time.monotonic())
        if call.handler.busy or patience_s <= 0:
            if self.counts.missed % 100 == 0:  # each of them would be a line per event
                log.warning("event not handled, its handler is busy handler=%s", call.handler.name)
            self._count(missed=1)
            return
        if self._worker is None:
            self._worker = _Worker(self._limit_s)
        made = _Made(call)
        self._worker.calls.put(made)
        if made.ended.wait(patience_s):
            self._count(done=int(made.fault is None), raised=int(made.fault == "raised"))
            overdue = made.fault == "overdue"
        else:
            call.handler.left_behind = made.ended
            self._worker.calls.put(None)  # it ends when this call does
            self._worker = None
            overdue = True
        if overdue:
            self._count(overdue=1)
            name = call.handler.name
            log.error("handler takes too long handler=%s limit_s=%.1f", name, patience_s)

    def _count(self, *, done: int = 0, raised: int = 0, overdue: int = 0, missed: int = 0) -> None:
        so_far = self.counts
        self.counts = HandlerCounts(
            so_far.done + done,
            so_far.raised + raised,
            so_far.overdue + overdue,
            so_far.missed + missed,
        )


class _Made:
    """A call in progress."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.ended = threading.Event()
        self.fault: str | None = None


class _Worker:
    """A thread that calls, one after the other, until it is given None.

    It never keeps the process from ending.
    """

    def __init__(self, limit_s: float) -> None:
        self.calls: queue.SimpleQueue[_Made | None] = queue.SimpleQueue()
        self._limit_s = limit_s
        threading.Thread(target=self._run, name="handlers", daemon=True).start()

    def _run(self) -> None:
        _HANDLING.set(True)
        with asyncio.Runner() as runner:  # makes its loop when something is awaited
            while (made := self.calls.get()) is not None:
                self._make(made, runner)

    def _make(self, made: _Made, runner: asyncio.Runner) -> None:
        try:
            result = made.call.run()
            if inspect.isawaitable(result) and runner.run(_expires(result, self._limit_s)):
                made.fault = "overdue"
        except BaseException:
            # Any exception, even SystemExit, is the handler's own and ends nothing else.
            made.fault = "raised"
            log.exception("handler raised handler=%s", made.call.handler.name)
        finally:
            made.ended.set()


async def _expires(awaitable: Awaitable[object], limit_s: float) -> bool:
    """Await something; return whether it was cancelled because it took too long."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            await awaitable
    except TimeoutError:  # it may also be the handler's own
        if not limit.expired():
            raise
    return limit.expired()
