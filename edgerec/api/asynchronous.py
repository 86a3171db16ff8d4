"""The recorder for asyncio programs: the same methods, awaitable, handlers on the program's loop.

Each method runs `Recorder`'s in a thread, so that the loop never waits for a disk or a device.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from edgerec.api.dispatcher import EventCounts
from edgerec.api.feeding import Pushed
from edgerec.api.handlers import NAMES, HandlerError
from edgerec.api.live_tap import Tap
from edgerec.api.recorder import HANDLER_SECONDS, Recorder
from edgerec.audio import Played, StreamName, TrackName
from edgerec.clock import Clock
from edgerec.config import Config

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

STREAM_EVENTS: Final = 1000
"""Number of events that an `EventIterator` keeps for a program that does not take them."""


class AsyncRecorder:
    """Records what a configuration says, in this process, for one event loop.

    Use it with `async with`, or await `start_recording` and `stop_recording`; `Recorder` describes
    the methods. All of them are for coroutines of the loop in which it was opened.

    Parameters
    ----------
    config, handler_seconds, control
        As for `Recorder`.
    """

    def __init__(
        self,
        config: Config,
        *,
        handler_seconds: float = HANDLER_SECONDS,
        control: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._recorder = Recorder(
            config, handler_seconds=handler_seconds, control=control, clock=clock
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streams: weakref.WeakSet[EventIterator] = weakref.WeakSet()
        self._streaming = False

    @property
    def config(self) -> Config:
        """The configuration it was made with."""
        return self._recorder.config

    def event_handler(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that registers a handler, `def handler(recorder, event)`.

        Plain or `async`, it is called on the program's own loop, one event after the other. One
        that takes longer than `handler_seconds`, or for which the loop has no time so long, is
        cancelled.

        Raises
        ------
        HandlerError
            There is no such event, or not with this configuration.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            async def call(_: Recorder, event: object) -> None:
                await self._on_loop(function, event)

            call.__qualname__ = getattr(function, "__qualname__", repr(function))
            self._recorder.add_handler(name, call)
            return function

        self._recorder.check_event(name)
        return register

    def events(self) -> EventIterator:
        """Return the events from now on, each as handlers receive it, for `async for`.

        It ends when the recorder is closed.
        """
        stream = EventIterator(asyncio.get_running_loop())
        if not self._streaming:
            self._streaming = True
            for name in NAMES:
                try:
                    self._recorder.add_handler(name, self._stream)
                except HandlerError:
                    continue  # there is no such event with this configuration
        self._streams.add(stream)
        return stream

    async def start_recording(self) -> bool:
        """Begin a session with what is sampled from now on; as `Recorder.start_recording`."""
        self._loop = asyncio.get_running_loop()
        return await asyncio.to_thread(self._recorder.start_recording)

    async def stop_recording(self) -> None:
        """End the session; everything is published then. As `Recorder.stop_recording`."""
        await asyncio.to_thread(self._recorder.stop_recording)
        self._end_streams()

    async def pause(self) -> bool:
        """Record silence from now on; as `Recorder.pause`."""
        return await asyncio.to_thread(self._recorder.pause)

    async def resume(self) -> bool:
        """Record again; as `Recorder.resume`."""
        return await asyncio.to_thread(self._recorder.resume)

    async def rotate(self) -> None:
        """End the chunk here; as `Recorder.rotate`."""
        await asyncio.to_thread(self._recorder.rotate)

    async def feed(
        self,
        track: TrackName,
        pcm: Buffer,
        sample_rate: int,
        channels: int | None = None,
        at_ns: int | None = None,
        *,
        live: bool = False,
        lost: int = 0,
    ) -> Pushed:
        """Push audio into a track; as `Recorder.feed`. While the queue is full, it waits.

        Await each call before the next one of the same track: audio is taken in that order. What a
        cancelled call has not pushed by then is not pushed; `clear` drops the rest.
        """
        feeding = self._recorder._feeding(track)
        if feeding is None:
            return Pushed(track, 0, 0)
        given_up = threading.Event()
        push = partial(feeding.push, live=live, lost=lost, is_given_up=given_up.is_set)
        try:
            return await asyncio.to_thread(push, pcm, sample_rate, channels, at_ns)
        except asyncio.CancelledError:
            given_up.set()
            feeding.look()
            raise

    async def clear(self, track: TrackName, at_ns: int | None = None) -> Played:
        """Drop what was pushed into a track and is not played; as `Recorder.clear`."""
        return await asyncio.to_thread(self._recorder.clear, track, at_ns)

    async def played(self, of: Pushed | TrackName) -> Played:
        """Return what was heard by now of what was pushed; as `Recorder.played`."""
        return await asyncio.to_thread(self._recorder.played, of)

    async def mark(
        self, track: TrackName, state: Literal["start", "stop"], at_ns: int | None = None
    ) -> int:
        """Mark that a speaker has the turn, or no longer has it; as `Recorder.mark`."""
        return await asyncio.to_thread(self._recorder.mark, track, state, at_ns)

    def tap(self, what: StreamName, sample_rate: int | None = None) -> Tap:
        """Return live audio from now on, for `async for`; as `Recorder.tap`."""
        return self._recorder.tap(what, sample_rate)

    def status(self) -> dict[str, object]:
        """Return the status, as `edgerec status --json` prints it; empty when closed."""
        return self._recorder.status()

    @property
    def counts(self) -> EventCounts:
        """Counts of events by outcome, since the devices were last opened."""
        return self._recorder.counts

    async def close(self) -> None:
        """End the session and release the devices."""
        try:
            await asyncio.to_thread(self._recorder.close)
        finally:
            self._end_streams()

    async def __aenter__(self) -> Self:
        """Open the devices, and begin to record unless `recording.auto_start` is false."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._recorder.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the session and release the devices."""
        try:
            await asyncio.to_thread(self._recorder.__exit__)
        finally:
            self._end_streams()

    async def _on_loop(self, function: Callable[..., Any], event: object) -> None:
        """Have a handler called on the program's loop; for the loop of the handlers' thread."""
        loop = self._loop
        if loop is None or loop.is_closed():
            raise RuntimeError("the event loop of this recorder has ended before it was closed")
        called = asyncio.run_coroutine_threadsafe(self._call(function, event), loop)
        await asyncio.wrap_future(called)

    async def _call(self, function: Callable[..., Any], event: object) -> None:
        result = function(self, event)
        if inspect.isawaitable(result):
            await result

    def _stream(self, _: Recorder, event: object) -> None:
        for stream in list(self._streams):
            stream._put(event)

    def _end_streams(self) -> None:
        if self._recorder.is_open:
            return
        for stream in list(self._streams):
            stream._end()


class EventIterator:
    """Events for one `async for`; made by `AsyncRecorder.events`, and for its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[object] = deque()
        self._came = asyncio.Event()
        self._ended = False
        self.dropped = 0
        """Number of events that found 1000 others waiting."""

    def __aiter__(self) -> Self:
        """Return this."""
        return self

    async def __anext__(self) -> object:
        """Return the next event; the iteration ends when the recorder has been closed."""
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        return self._waiting.popleft()

    def _put(self, event: object) -> None:
        """Take in an event; for the handlers' thread."""
        if len(self._waiting) >= STREAM_EVENTS:
            self.dropped += 1
            return
        self._waiting.append(event)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.set)

    def _end(self) -> None:
        self._ended = True
        self._came.set()
