"""The source of a track with `source: feed`: audio that an application pushes.

Blocks without stamps are queued and played (`loudspeaker`); with stamps they come from a live
device (`live_feed`). A stream's first block decides which of the two it is. One application at a
time, and only what is queued is kept: when the queue is full its socket is not read, and the
application waits.
"""

from __future__ import annotations

import logging
import queue
import select
import socket
import threading
from typing import Final

from edgerec.audio import (
    Block,
    Delivery,
    GapReason,
    SourceState,
    SourceStateName,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.clock import Clock
from edgerec.feeds.connection import FeedConnection, FeedError, check_form
from edgerec.feeds.live import LiveAllowance, LiveFeed
from edgerec.feeds.playback import PAUSE, Loudspeaker
from edgerec.waker import Waker

log = logging.getLogger(__name__)

MAX_NAME: Final = 64  # characters of an application's own name for its device


class FeedSource:
    """One track's audio, as applications push it.

    `offer` is for any thread, everything else for the recorder thread.
    """

    unhurried: Final = False
    """Whether reads may be postponed: never, or the application could not continue."""
    held_since_ns: Final = None
    """Always None: nothing is held back, because the audio's origin is certain."""

    def __init__(self, track: TrackName, clock: Clock) -> None:
        self.track = track
        self.state = SourceState("idle", clock.now_ns(), "nobody is connected", 0)
        self._clock = clock
        self._speaker = Loudspeaker()
        self._allowance = LiveAllowance()
        self._connection: FeedConnection | None = None
        self._header: StreamHeader | None = None  # of the connection's stream
        self._live: LiveFeed | None = None  # that stream, if it is stamped
        self._begun = False  # that stream has had a block
        self._seat = threading.Lock()  # taken by `offer`, given back when the connection ends
        self._offered: queue.SimpleQueue[FeedConnection] = queue.SimpleQueue()
        self._gate = threading.Lock()  # between `offer` and `close`, never waited for while open
        self._closed = False
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
        with self._gate:
            if self._closed:
                raise FeedError("stopped", "the recording has ended", "try again when it runs")
            if not self._seat.acquire(blocking=False):
                raise FeedError(
                    "busy",
                    f"another application feeds the {self.track} track",
                    "one connection per track at a time: wait until it has ended",
                )
            self._waker.set()  # first: the reader of the connection clears it
            self._offered.put(FeedConnection(connection, received, reply))

    def fileno(self) -> int | None:
        """Return what to select on."""
        return None if self._closed else self._ready.fileno()

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what was played or arrived live since the last call. Never blocks."""
        deliveries = self._speaker.play(now_ns)
        self._seat_offered()
        if self._connection is not None:
            self._receive(self._connection, now_ns, deliveries)
            deliveries += self._speaker.play(now_ns)
        self._watch(wanted=not self._speaker.full(now_ns))
        self._note_state(now_ns)
        return deliveries

    def close(self) -> None:
        """Tell the application that the recording has ended, and disconnect it."""
        with self._gate:
            self._closed = True
        self._seat_offered()
        if self._connection is not None:
            self._connection.refuse(FeedError("stopped", "the recording has ended", ""))
            self._connection = None
        self._ready.close()
        self._waker.close()

    def _seat_offered(self) -> None:
        if self._offered.empty():
            return
        self._connection = self._offered.get_nowait()
        self._waker.clear()
        self._header = self._live = None
        log.info("feed connected track=%s", self.track)

    def _receive(self, connection: FeedConnection, now_ns: int, deliveries: list[Delivery]) -> None:
        try:
            for message in connection.messages(lambda: not self._speaker.full(now_ns)):
                if isinstance(message, StreamHeader):
                    self._open_stream(message)
                else:
                    deliveries += self._take(message, now_ns)
        except FeedError as error:
            log.warning("feed refused track=%s code=%s why=%r", self.track, error.code, str(error))
            fault = StreamEnded(GapReason.SOURCE, f"the feed: {error}")
            if self._live is not None:
                deliveries.append(fault)
            else:
                self._speaker.break_off(fault, now_ns)
            self._leave(connection)
            connection.refuse(error)
            return
        if connection.at_end:
            log.info("feed ended track=%s frames=%d", self.track, connection.frames)
            if self._live is not None:
                deliveries.append(PAUSE)
            self._leave(connection)
            plays_s = self._speaker.queued_ns(now_ns) / 1e9
            connection.finish({"frames": connection.frames, "plays_seconds": round(plays_s, 3)})

    def _open_stream(self, header: StreamHeader) -> None:
        if header.track != self.track:
            raise FeedError(
                "wrong_track",
                f"a block stream of the {header.track} track on a feed of {self.track}",
                f"say {self.track} in its header line",
            )
        if self._header is not None and not self._begun:
            raise FeedError("malformed", "two header lines with no block between them", "")
        check_form(header.sample_rate, header.channels)
        self._header = header
        self._begun = False

    def _take(self, block: Block, now_ns: int) -> list[Delivery]:
        """Queue a block, or pass it on."""
        assert self._header is not None  # the decoder refuses a block before the header line
        stamped = self._header.live or block.arrived_ns != 0
        opened: list[Delivery] = []
        if not self._begun:
            self._begun = True
            opened = self._begin(self._header, now_ns, stamped=stamped)
        if stamped != (self._live is not None):
            raise FeedError(
                "malformed",
                "stamped and unstamped blocks in one stream",
                "stamp all blocks after a header line, or none",
            )
        if self._live is not None:
            return [*opened, self._live.take(block, now_ns)]
        self._speaker.push(_on_our_clock(self._header), block.pcm, now_ns)
        return opened

    def _begin(self, header: StreamHeader, now_ns: int, *, stamped: bool) -> list[Delivery]:
        was_live = self._live is not None
        self._live = LiveFeed(header, self._clock, self._allowance) if stamped else None
        if not stamped:
            return [PAUSE] if was_live else []
        if self._speaker.playing:
            plays_s = self._speaker.queued_ns(now_ns) / 1e9
            self._live = None
            raise FeedError(
                "busy",
                f"a stamped block while queued audio is playing ({plays_s:.1f} s more)",
                "a live stream begins when what was queued has been played",
            )
        return [_on_our_clock(header)]

    def _leave(self, connection: FeedConnection) -> None:
        if self._watched:
            self._ready.unregister(connection.fileno())
            self._watched = False
        self._connection = self._header = self._live = None
        self._seat.release()

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
        name: SourceStateName = "running" if self._connection or self._speaker.playing else "idle"
        since_ns = self.state.since_ns if name == self.state.name else now_ns
        detail = "an application is connected" if self._connection else "nobody is connected"
        self.state = SourceState(name, since_ns, detail, restarts=0)


def _on_our_clock(header: StreamHeader) -> StreamHeader:
    """Return the header of what is delivered; an application can't take a device's own name."""
    return StreamHeader(
        sample_rate=header.sample_rate,
        channels=header.channels,
        track=header.track,
        device=f"feed:{header.device[:MAX_NAME]}",
        clock="monotonic_raw",
        live=header.live,
    )
