"""The source of a track with `source: feed`: audio that an application pushes.

One application at a time: over a connection, or as a part of this program. Only what is queued is
kept (`intake`): when the queue is full the socket is not read, and the application waits.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Final

from edgerec.audio import (
    AudioRefused,
    Block,
    Delivery,
    GapReason,
    Played,
    SourceState,
    SourceStateName,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.clock import Clock
from edgerec.feeds.connection import FeedConnection, FeedError
from edgerec.feeds.intake import Intake
from edgerec.feeds.playlog import Account, Spoken
from edgerec.waker import Waker

log = logging.getLogger(__name__)


class FeedSource:
    """One track's audio, as applications push it.

    `fileno`, `deliver`, `state` and the end of it are the recorder thread's, everything else is for
    any thread. What waits for room waits without the lock; nothing else takes it for long.

    Parameters
    ----------
    notify
        Called when an utterance has ended or was cleared, and when audio is refused; must not block
        or call this. May be replaced before the source is used.
    """

    unhurried: Final = False
    """Whether reads may be postponed: never, or the application could not continue."""
    held_since_ns: Final = None
    """Always None: nothing is held back, because the audio's origin is certain."""

    def __init__(
        self,
        track: TrackName,
        clock: Clock,
        notify: Callable[[Played | AudioRefused], None] = lambda event: None,
    ) -> None:
        self.track = track
        self.state = SourceState("idle", clock.now_ns(), "nobody is connected", 0)
        self._clock = clock
        self.notify = notify
        self._room = threading.Condition()  # guards what follows; notified when there is room
        self._intake = Intake(track, clock)
        self._connection: FeedConnection | None = None
        self._clears = 0
        self._stops = 0
        self._closed = False
        self._seat = threading.Lock()  # taken by an application, given back when it has ended
        self._inside = False  # that application is a part of this program
        self._offered: queue.SimpleQueue[FeedConnection] = queue.SimpleQueue()
        self._waker = Waker()
        self._ready = select.epoll()
        self._ready.register(self._waker, select.EPOLLIN)
        self._watched = False

    def offer(self, connection: socket.socket, received: bytes, reply: bytes) -> None:
        """Hand over a connection that is to become this track's block stream.

        Parameters
        ----------
        received
            The part of the block stream that was already read.
        reply
            Answer sent to the application once its connection is accepted.

        Raises
        ------
        FeedError
            Another one is connected, or the recording has ended; the connection stays yours.
        """
        with self._room:
            self._take_seat()
            self._waker.set()
            self._offered.put(FeedConnection(connection, received, reply))

    def attach(self) -> None:
        """Become the application that feeds the track, from inside this program; see `push`.

        Raises
        ------
        FeedError
            Another one is connected, or the recording has ended.
        """
        with self._room:
            self._take_seat()
            self._inside = True

    def detach(self) -> None:
        """End what `attach` began; what is queued is played."""
        with self._room:
            if self._inside:
                self._inside = False
                self._intake.finish()
                self._seat.release()

    def push(
        self,
        messages: Iterable[StreamHeader | Block],
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> tuple[int, int]:
        """Take in audio from inside this program; wait while the queue is full.

        For one thread at a time. A `clear` meanwhile ends it: what was not taken is not pushed. So
        does `is_given_up`, which is asked again after `look`.

        Returns
        -------
        Positions of the first frame, and after the last one.

        Raises
        ------
        FeedError
            It can't be recorded, or the session or the recording has ended meanwhile.
        """
        with self._room:
            start, clears, stops = self._intake.log.pushed, self._clears, self._stops
            remaining = iter(messages)
            for message in remaining:
                while self._intake.full(self._clock.now_ns()) and not self._closed:
                    if self._clears != clears or is_given_up():
                        break
                    self._room.wait()
                self._check_open()
                if self._stops != stops:
                    raise FeedError(
                        "stopped", "the session was stopped, the rest is not recorded", ""
                    )
                if self._clears != clears or is_given_up():
                    break
                try:
                    self._take(message, self._clock.now_ns())
                except FeedError as error:
                    self._fail(error, itertools.chain([message], remaining))
                    raise
            self._waker.set()
            return start, self._intake.log.pushed

    def look(self) -> None:
        """Have a `push` that waits ask whether it is given up."""
        with self._room:
            self._room.notify_all()

    def clear(self, at_ns: int | None = None) -> Played:
        """Drop what was pushed and is not played at an instant; return what was heard.

        That is of the utterance in progress. Frames that were recorded by now are heard, also where
        the instant is earlier; at most a fraction of a second.

        Parameters
        ----------
        at_ns
            On CLOCK_MONOTONIC; None: now.

        Raises
        ------
        FeedError
            The recording has ended.
        """
        with self._room:
            self._check_open()
            reading = self._clock.read()
            to_monotonic_ns = reading.monotonic_ns - reading.raw_ns
            at = reading.raw_ns if at_ns is None else at_ns - to_monotonic_ns
            account = self._clear(at, reading.raw_ns)
            self._note_state(reading.raw_ns)  # the status agrees with the answer at once
            self._waker.set()
            return self._described(account, self._intake.log.pushed, to_monotonic_ns)

    def stop(self, at_ns: int) -> None:
        """End what is queued with the session that ends at an instant of CLOCK_MONOTONIC_RAW."""
        with self._room:
            self._stops += 1
            self._clear(at_ns, self._clock.now_ns())

    def played(self, start: int = 0, stop: int | None = None) -> Played:
        """Return what has become of the frames at some positions; by default of all so far.

        Raises
        ------
        FeedError
            They were pushed too long ago, or not yet.
        """
        with self._room:
            if start == 0 and stop is None:
                return self._so_far()
            reading = self._clock.read()
            stop = self._intake.log.pushed if stop is None else stop
            try:
                account = self._intake.log.between(start, stop, reading.raw_ns)
            except LookupError as error:
                hint = "ask about what was pushed in the last minutes"
                raise FeedError("bad_args", str(error), hint) from None
            return self._described(account, stop, reading.monotonic_ns - reading.raw_ns)

    def fileno(self) -> int | None:
        """Return what to select on."""
        return None if self._closed else self._ready.fileno()

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what was played or arrived live since the last call. Never blocks."""
        with self._room:
            deliveries = self._intake.deliver(now_ns)
            self._seat_offered()
            if self._connection is not None:
                self._receive(self._connection, now_ns)
                deliveries += self._intake.deliver(now_ns)
            self._tell(self._intake.ended())
            full = self._intake.full(now_ns)
            self._watch(wanted=not full)
            if not full:
                self._room.notify_all()
            self._note_state(now_ns)
            return deliveries

    def close(self) -> None:
        """Tell the application that the recording has ended, and disconnect it."""
        with self._room:
            now_ns = self._clock.now_ns()
            self._clear(now_ns, now_ns)
            self._intake.finish()  # a live stream ends here, too
            self._intake.deliver(now_ns)  # nobody takes it any more
            self._tell(self._intake.ended())
            self._closed = True
            self._seat_offered()
            if self._connection is not None:
                self._connection.refuse(FeedError("stopped", "the recording has ended", ""))
                self._connection = None
            self._ready.close()
            self._waker.close()
            self._room.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise FeedError("stopped", "the recording has ended", "try again when it runs")

    def _take_seat(self) -> None:
        self._check_open()
        if not self._seat.acquire(blocking=False):
            raise FeedError(
                "busy",
                f"another application feeds the {self.track} track",
                "one connection per track at a time: wait until it has ended",
            )

    def _seat_offered(self) -> None:
        self._waker.clear()
        if self._offered.empty():
            return
        self._connection = self._offered.get_nowait()
        log.info("feed connected track=%s", self.track)

    def _receive(self, connection: FeedConnection, now_ns: int) -> None:
        messages = connection.messages(lambda: not self._intake.full(now_ns))
        message: StreamHeader | Block | None = None
        try:
            for message in messages:
                if isinstance(message, Block) and not message.frames:
                    self._clear_in_turn(connection, message)
                else:
                    self._take(message, now_ns, cleared=connection.cleared)
                message = None
        except FeedError as error:
            refused = [] if message is None else [message]
            self._fail(error, itertools.chain(refused, _readable(messages)))
            self._leave(connection)
            connection.refuse(error)
            return
        if connection.at_end:
            log.info("feed ended track=%s frames=%d", self.track, connection.frames)
            self._intake.finish()
            self._leave(connection)
            plays_s = self._intake.plays_ns(now_ns) / 1e9
            connection.finish({"frames": connection.frames, "plays_seconds": round(plays_s, 3)})

    def _take(self, message: StreamHeader | Block, now_ns: int, *, cleared: bool = False) -> None:
        if isinstance(message, StreamHeader):
            self._intake.open(message)
        elif cleared:
            self._intake.take_cleared(message, now_ns)
        else:
            self._intake.take(message, now_ns)

    def _fail(self, error: FeedError, refused: Iterable[StreamHeader | Block]) -> None:
        """Declare what is refused by an error: the message that is wrong, and what came after."""
        frames, seconds = 0, 0.0
        rate = self._intake.sample_rate
        for message in refused:
            if isinstance(message, StreamHeader):
                rate = message.sample_rate
            else:
                frames += message.frames
                seconds += message.frames / rate
        log.warning(
            "feed refused track=%s code=%s frames=%d why=%r",
            self.track,
            error.code,
            frames,
            str(error),
        )
        fault = StreamEnded(GapReason.SOURCE, f"the feed: {error}", seconds)
        self._intake.fail(fault, self._clock.now_ns())
        self.notify(AudioRefused(self.track, frames, error.code, str(error)))

    def _leave(self, connection: FeedConnection) -> None:
        if self._watched:
            self._ready.unregister(connection.fileno())
            self._watched = False
        self._connection = None
        self._seat.release()

    def _clear_in_turn(self, connection: FeedConnection, message: Block) -> None:
        """Clear what the connection has sent before a message."""
        reading = self._clock.read()
        to_monotonic_ns = reading.monotonic_ns - reading.raw_ns
        at_ns = message.arrived_ns or reading.raw_ns
        if message.arrived_ns and self._intake.clock == "monotonic":
            at_ns -= to_monotonic_ns
        account = self._intake.clear(at_ns, reading.raw_ns)
        position = self._intake.log.pushed
        connection.answer(asdict(self._described(account, position, to_monotonic_ns)))

    def _clear(self, at_ns: int, now_ns: int) -> Account:
        self._clears += 1
        if self._connection is not None:
            self._connection.clear()
        account = self._intake.clear(at_ns, now_ns)
        self._room.notify_all()
        return account

    def _tell(self, ended: list[Spoken]) -> None:
        for spoken in ended:
            reading = self._clock.read()
            account = self._intake.log.between(spoken.first, spoken.stop, reading.raw_ns)
            to_monotonic_ns = reading.monotonic_ns - reading.raw_ns
            self.notify(self._described(account, spoken.stop, to_monotonic_ns))

    def _described(self, account: Account, position: int, to_monotonic_ns: int) -> Played:
        return Played(
            track=self.track,
            position=position,
            frames=account.frames,
            seconds=account.seconds,
            dropped=account.dropped,
            waiting=account.waiting,
            last_ns=None if account.last_ns is None else account.last_ns + to_monotonic_ns,
        )

    def _watch(self, *, wanted: bool) -> None:
        """Wake up for what the application sends, but not while it has to wait."""
        if self._connection is None or wanted == self._watched:
            return
        if wanted:
            self._ready.register(self._connection.fileno(), select.EPOLLIN)
        else:
            self._ready.unregister(self._connection.fileno())
        self._watched = wanted

    def _note_state(self, now_ns: int) -> None:
        connected = self._connection is not None or self._inside
        name: SourceStateName = "running" if connected or self._intake.playing else "idle"
        since_ns = self.state.since_ns if name == self.state.name else now_ns
        detail = "an application is connected" if connected else "nobody is connected"
        self.state = SourceState(name, since_ns, detail, restarts=0, fed=self._so_far())

    def _so_far(self) -> Played:
        reading = self._clock.read()
        account = self._intake.log.all(reading.raw_ns)
        to_monotonic_ns = reading.monotonic_ns - reading.raw_ns
        return self._described(account, self._intake.log.pushed, to_monotonic_ns)


def _readable(messages: Iterator[StreamHeader | Block]) -> Iterator[StreamHeader | Block]:
    """Yield the messages up to the first that can't be read."""
    with contextlib.suppress(FeedError):
        yield from messages
