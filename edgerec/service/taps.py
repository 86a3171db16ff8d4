"""Serves live audio to taps: block streams out of the running service.

The recorder thread hands over what each device delivers, before anything is placed on the
timeline; a separate thread does the rest. However many listen, and whether they read or not, it
costs the recorder thread one entry in a queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import socket
import threading
from dataclasses import dataclass
from typing import Final, Self

from edgerec.audio import (
    Block,
    BlockFlags,
    Delivery,
    DeviceFrame,
    StreamEnded,
    StreamHeader,
    StreamName,
    TimelineFrame,
    TrackName,
)
from edgerec.clock import Clock
from edgerec.service.peers import Seats, uid_of
from edgerec.service.tap_connection import TapConnection
from edgerec.session.listener import LiveReaders
from edgerec.session.threads import ThreadMaker
from edgerec.session.timeline import SessionTimeline
from edgerec.store.records.layout import CHUNK, Layout
from edgerec.sync.history import OverrunError
from edgerec.wire.blocks import encode_block, encode_stream_header
from edgerec.wire.messages import RefusedError

log = logging.getLogger(__name__)

MAX_TAPS: Final = 64
KEPT_TAPS: Final = 2  # of these, for root and the service's own user
TAPS_EACH: Final = 31  # of any other user
QUEUE_BLOCKS: Final = 1000  # 50 s of two devices; only a starved machine leaves that many waiting
IDLE_S: Final = 1.0  # how late a reader that takes no last line may be closed


class Taps(LiveReaders):
    """All taps.

    `delivered` and `committed` are for the recorder thread, the rest for any. `close` waits for the
    taps' own thread; no other method waits for anything.
    """

    def __init__(self, clock: Clock, *, make_thread: ThreadMaker = threading.Thread) -> None:
        self._clock = clock
        self._headers: dict[TrackName, StreamHeader] = {}  # of the streams that are open
        self._listening: dict[StreamName, list[TapConnection]] = {}
        self._leaving: list[TapConnection] = []  # cut off, the last line not yet sent
        self._heard: frozenset[StreamName] = frozenset()  # with a listener; replaced as a whole
        self._queue: queue.SimpleQueue[tuple[TrackName, StreamHeader, Block] | _Committed]
        self._queue = queue.SimpleQueue()
        self._offered: queue.SimpleQueue[tuple[StreamName, TapConnection]] = queue.SimpleQueue()
        self._seats = threading.Lock()  # held for a few instructions
        self._places = Seats(MAX_TAPS, kept=KEPT_TAPS, each=TAPS_EACH)  # under the same lock
        self._closed = False
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready = select.epoll()
        self._ready.register(self._woken, select.EPOLLIN)
        self._thread = make_thread(target=self._run, name="taps")

    @property
    def is_live(self) -> bool:
        """Whether anybody listens. For any thread."""
        return self.count > 0

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Tell every reader that it is over, and end."""
        self.close()

    def offer(self, what: StreamName, connection: socket.socket, reply: bytes) -> None:
        """Let a client listen; its connection becomes a block stream.

        Raises
        ------
        RefusedError
            Too many listen already, or the service ends; the connection stays the caller's.
        """
        with self._seats:
            if self._closed:
                raise RefusedError("stopped", "the service ends", "try again when it runs")
            uid = uid_of(connection)
            if not self._places.take(uid):
                raise RefusedError("busy", f"{MAX_TAPS} taps are open", "close one of them")
            self.count += 1
            self._heard |= {what}
            self._offered.put((what, TapConnection(connection, reply, uid)))
            os.eventfd_write(self._woken, 1)

    def delivered(self, track: TrackName, delivery: Delivery) -> None:
        """Hand over what a device has just delivered; for the recorder thread."""
        match delivery:
            case StreamHeader():
                self._headers[track] = delivery
            case StreamEnded():
                self._headers.pop(track, None)
            case Block() if track in self._heard and track in self._headers:
                self._put((track, self._headers[track], delivery))

    def committed(self, timeline: SessionTimeline) -> None:
        """Note that a session's timeline may have grown, for listeners of the mix."""
        new = _Committed(timeline, timeline.mixed, timeline.history.committed)
        timeline.mixed = new.stop
        if "mix" in self._heard and new.start < new.stop:
            self._put(new)

    def close(self) -> None:
        """Send every reader its last line, and end."""
        with self._seats:
            self._closed = True
        os.eventfd_write(self._woken, 1)
        self._thread.join()
        self._ready.close()
        os.close(self._woken)

    def step(self, timeout_s: float | None) -> None:
        """Wait for something to do, and do it; for the taps' own thread."""
        gone = set()
        for descriptor, events in self._ready.poll(timeout_s):
            if events & (select.EPOLLERR | select.EPOLLHUP):
                gone.add(descriptor)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        while not self._offered.empty():
            self._open(*self._offered.get_nowait())
        while not self._queue.empty():
            self._distribute(self._queue.get_nowait())
        for what, taps in self._listening.items():
            for tap in list(taps):
                self._serve(what, tap, hung_up=tap.fileno() in gone)
        self._part(gone)

    def _run(self) -> None:
        while not self._closed:
            self.step(IDLE_S if self._leaving else None)
        for tap in [tap for taps in self._listening.values() for tap in taps]:
            tap.cut_off("stopped", "the service has ended", "", self._clock.now_ns())
            tap.send()
            tap.close()
        for tap in self._leaving:
            tap.close()
        while not self._offered.empty():
            self._offered.get_nowait()[1].close()

    def _open(self, what: StreamName, tap: TapConnection) -> None:
        self._listening.setdefault(what, []).append(tap)
        self._ready.register(tap.fileno(), 0)
        log.info("tap opened of=%s taps=%d", what, self.count)

    def _put(self, entry: tuple[TrackName, StreamHeader, Block] | _Committed) -> None:
        if self._queue.qsize() >= QUEUE_BLOCKS:
            self.lost_blocks += 1
            return
        self._queue.put(entry)
        os.eventfd_write(self._woken, 1)

    def _distribute(self, entry: tuple[TrackName, StreamHeader, Block] | _Committed) -> None:
        if not isinstance(entry, _Committed):
            self._say(*entry)
            return
        with contextlib.suppress(OverrunError):  # the next first_frame says how much that was
            self._say("mix", entry.timeline.mix_header, entry.mix(self._clock.now_ns()))

    def _say(self, what: StreamName, header: StreamHeader, block: Block) -> None:
        encoded = encode_block(block)  # once for all of them
        opening = encode_stream_header(header)
        for tap in self._listening.get(what, ()):
            if tap.header is not header:
                tap.header = header
                tap.say(opening)
            tap.say(encoded)
            tap.frames += block.frames

    def _serve(self, what: StreamName, tap: TapConnection, *, hung_up: bool) -> None:
        if hung_up or (tap.owed and not tap.send()):
            log.info("tap closed by its reader of=%s frames=%d", what, tap.frames)
            self._release(what, tap)
            self._drop(tap)
        elif tap.too_slow:
            log.warning("tap cut off, it does not read of=%s frames=%d", what, tap.frames)
            told = "more audio was waiting than is kept for a reader"
            tap.cut_off("too_slow", told, "read all the time", self._clock.now_ns())
            self._release(what, tap)
            self._leaving.append(tap)
        else:
            self._ready.modify(tap.fileno(), select.EPOLLOUT if tap.owed else 0)

    def _part(self, gone: set[int]) -> None:
        now_ns = self._clock.now_ns()
        for tap in list(self._leaving):
            if tap.fileno() in gone or not tap.send() or tap.overdue(now_ns):
                self._leaving.remove(tap)
                self._drop(tap)

    def _release(self, what: StreamName, tap: TapConnection) -> None:
        with self._seats:
            self._listening[what].remove(tap)
            self.count -= 1
            self._places.leave(tap.uid)
            if self._offered.empty():  # else one of those may be about to listen to it
                self._heard = frozenset(name for name, taps in self._listening.items() if taps)

    def _drop(self, tap: TapConnection) -> None:
        self._ready.unregister(tap.fileno())
        tap.close()


@dataclass(frozen=True, slots=True)
class _Committed:
    """The newly committed frames of a timeline."""

    timeline: SessionTimeline
    start: TimelineFrame
    stop: TimelineFrame

    def mix(self, now_ns: int) -> Block:
        """Return both tracks as one.

        Raises
        ------
        OverrunError
            The history does not hold it any more.
        """
        frames = self.stop - self.start
        pcm = self.timeline.history.read(self.start, frames).pcm
        mono = Layout(self.timeline.rate, num_channels=1).samples(CHUNK, pcm)
        flags = BlockFlags(0) if self.start else BlockFlags.NEW_STREAM
        first = DeviceFrame(self.start)
        return Block(first, frames, now_ns, 0, flags, mono.astype("<i2").tobytes())
