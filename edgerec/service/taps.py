"""Live audio for taps: block streams out of the running service.

The recorder thread hands over what each device delivers, before anything is placed on the
timeline; the readers' threads do the rest: the control thread, and those of a program that records.
However many listen, and whether they read or not, it costs the recorder thread one entry in a
queue. A reader that keeps up gets everything.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

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
from edgerec.session.timeline import LiveReaders, SessionTimeline
from edgerec.store.records.layout import CHUNK, Layout
from edgerec.sync.history import OverrunError
from edgerec.wire.blocks import encode_block, encode_stream_header

log = logging.getLogger(__name__)

QUEUE_BLOCKS: Final = 1000  # 50 s of two devices; only a starved machine leaves that many waiting
MAX_WAITING_BYTES: Final = 1 << 20  # 5 s of stereo at 48 kHz: a later reader does not listen live


class Reader(Protocol):
    """A listener to one stream."""

    @property
    def what(self) -> StreamName:
        """The stream."""
        ...

    @property
    def notify(self) -> Callable[[], None]:
        """Called in the recorder thread when there is something for any reader; must not wait."""
        ...

    def put(self, header: StreamHeader, block: Block, encoded: bytes) -> None:
        """Take in a block, and its form in a block stream; for any reader's thread."""
        ...


class Taps(LiveReaders):
    """All taps.

    `delivered`, `committed` and `over` are for the recorder thread, the rest for any other.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._headers: dict[TrackName, StreamHeader] = {}  # of the streams that are open
        self._readers: list[Reader] = []  # this and what follows: replaced as a whole
        self._heard: frozenset[StreamName] = frozenset()  # with a reader
        self._notified: frozenset[Callable[[], None]] = frozenset()
        self._lock = threading.Lock()  # between readers; the recorder thread never takes it
        self._queue: queue.SimpleQueue[tuple[TrackName, StreamHeader, Block] | _Committed]
        self._queue = queue.SimpleQueue()
        self.is_over = False
        """Whether nothing more comes."""

    @property
    def is_live(self) -> bool:
        """Whether anybody listens. For any thread."""
        return self.count > 0

    def open(self, what: StreamName, notify: Callable[[], None]) -> TapReader:
        """Let a client of the control socket listen."""
        reader = TapReader(self, what, notify)
        self.listen(reader)
        log.info("tap opened of=%s taps=%d", what, self.count)
        return reader

    def listen(self, reader: Reader) -> None:
        """Let another one listen, to what comes from now on."""
        with self._lock:
            self._distribute()  # what was left when nobody listened is not for it
            self._hear([*self._readers, reader])

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        with self._lock:
            self._hear([other for other in self._readers if other is not reader])
            self._distribute()  # what nobody listens to takes no memory

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

    def over(self) -> None:
        """Take in that nothing more is captured."""
        self.is_over = True
        self._notify()

    def distribute(self) -> None:
        """Have every reader take in what the recorder thread has handed over."""
        with self._lock:
            self._distribute()

    def _distribute(self) -> None:
        while not self._queue.empty():
            entry = self._queue.get_nowait()
            if not isinstance(entry, _Committed):
                self._say(*entry)
            elif "mix" in self._heard:
                with contextlib.suppress(OverrunError):  # the next first_frame says how much
                    self._say("mix", entry.timeline.mix_header, entry.mix(self._clock.now_ns()))

    def _hear(self, readers: list[Reader]) -> None:
        self._readers = readers
        self.count = len(readers)
        self._notified = frozenset(reader.notify for reader in readers)
        self._heard = frozenset(reader.what for reader in readers)

    def _notify(self) -> None:
        for notify in self._notified:
            notify()

    def _put(self, entry: tuple[TrackName, StreamHeader, Block] | _Committed) -> None:
        if self._queue.qsize() >= QUEUE_BLOCKS:
            self.lost_blocks += 1
            return
        self._queue.put(entry)
        self._notify()

    def _say(self, what: StreamName, header: StreamHeader, block: Block) -> None:
        encoded = encode_block(block)  # once for all of them
        for reader in self._readers:
            if reader.what == what:
                reader.put(header, block, encoded)


class TapReader:
    """What one reader is still to be sent; see `control.protocol.Messages`."""

    def __init__(self, taps: Taps, what: StreamName, notify: Callable[[], None]) -> None:
        self.what = what
        self.notify = notify
        self._taps = taps
        self._header: StreamHeader | None = None  # the last one; blocks after it are its stream's
        self._frames = 0
        self._missed = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    @property
    def missed(self) -> int:
        """Number of messages that found no room, of all that was handed over by now."""
        self._taps.distribute()  # here: what waits is bounded though this reader takes nothing
        return self._missed

    def put(self, header: StreamHeader, block: Block, encoded: bytes) -> None:
        """Queue a block, after its stream's header; blocks are shared between readers."""
        if self._header is not header:
            self._header = header
            self._queue(encode_stream_header(header))
        self._queue(encoded)
        self._frames += block.frames

    def take(self) -> bytes | None:
        """Return the next message; None if there is none now."""
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message)
        return message

    def close(self) -> None:
        """Stop listening."""
        if self._missed:
            log.warning("tap cut off, it does not read of=%s frames=%d", self.what, self._frames)
        else:
            log.info("tap closed of=%s frames=%d", self.what, self._frames)
        self._taps.leave(self)

    def _queue(self, message: bytes) -> None:
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._missed += 1
            return
        self._waiting.append(message)
        self._waiting_bytes += len(message)


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
