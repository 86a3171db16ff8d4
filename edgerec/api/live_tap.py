"""Live audio in the program that records: what the devices deliver, block by block.

Nothing waits for a program that does not take its blocks: it loses them, and the next block says
how many.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from edgerec.audio import Block, StreamHeader, StreamName
from edgerec.clock import SECOND_NS, Clock
from edgerec.service.taps import Taps

if TYPE_CHECKING:
    import numpy as np
    import soxr
    from numpy.typing import NDArray

KEPT_S: Final = 5.0
"""Audio that is kept for a program that does not take it, in s."""


@dataclass(frozen=True, slots=True)
class TapBlock:
    """Consecutive frames of live audio."""

    frame: int
    """First frame, counted since the device was opened; of the mix, since the session began. At
    `sample_rate`."""
    monotonic_ns: int
    """Instant of the first frame on CLOCK_MONOTONIC, as the block's delivery shows it."""
    sample_rate: int
    """Sampling rate in Hz."""
    lost: int
    """Number of frames that are missing before this: of the device, or as they were not taken."""
    pcm: NDArray[np.int16]
    """int16, shape (frames, channels)."""


class Tap:
    """Live audio of one stream, for `for` or `async for`; made by `Recorder.tap`, for one thread.

    It ends when the devices are released, or when it is closed.

    Parameters
    ----------
    sample_rate
        Rate to resample to, mono, in Hz; None: as the device delivers.
    """

    def __init__(
        self, taps: Taps, what: StreamName, clock: Clock, sample_rate: int | None = None
    ) -> None:
        self.what = what
        """The stream."""
        self.notify: Callable[[], None] = self._notify
        self._taps = taps
        self._clock = clock
        self._rate = sample_rate
        self._came = threading.Event()
        self._came_async: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._lock = threading.Lock()  # guards both; the thread of another tap may `put`
        self._waiting: deque[tuple[StreamHeader, Block]] = deque()
        self._waiting_s = 0.0
        self._closed = False
        self._header: StreamHeader | None = None  # of the stream that the next block belongs to
        self._next = 0  # that block's first frame, if nothing is lost
        self._resampled: _Resampled | None = None
        taps.listen(self)

    def put(self, header: StreamHeader, block: Block, encoded: bytes) -> None:
        """Take in a block; for the thread of any reader."""
        seconds = block.frames / header.sample_rate
        with self._lock:
            if self._waiting_s + seconds <= KEPT_S:
                self._waiting.append((header, block))
                self._waiting_s += seconds

    def close(self) -> None:
        """Stop listening; what has come is still given."""
        self._closed = True
        self._taps.leave(self)
        self._notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        self._came_async = asyncio.get_running_loop(), asyncio.Event()
        return self

    def __next__(self) -> TapBlock:
        """Wait for the next block."""
        while True:
            self._came.clear()
            if (block := self._take()) is not None:
                return block
            if self._is_over:
                self._taps.leave(self)
                raise StopIteration
            self._came.wait()

    async def __anext__(self) -> TapBlock:
        """Wait for the next block."""
        if self._came_async is None:  # asked by `anext`, without `async for`
            self.__aiter__()
        assert self._came_async is not None
        while True:
            self._came_async[1].clear()
            if (block := self._take()) is not None:
                return block
            if self._is_over:
                self._taps.leave(self)
                raise StopAsyncIteration
            await self._came_async[1].wait()

    @property
    def _is_over(self) -> bool:
        return self._closed or self._taps.is_over

    def _notify(self) -> None:
        self._came.set()
        if self._came_async is not None and not self._came_async[0].is_closed():
            loop, came = self._came_async
            loop.call_soon_threadsafe(came.set)

    def _take(self) -> TapBlock | None:
        over = self._is_over  # before looking: what came before the end is given
        self._taps.distribute()
        while (waiting := self._next_waiting()) is not None:
            header, block = waiting
            taken = self._resample(self._block(header, block))
            if len(taken.pcm) or over:
                return taken
        return None

    def _next_waiting(self) -> tuple[StreamHeader, Block] | None:
        with self._lock:
            if not self._waiting:
                return None
            first = self._waiting.popleft()
            self._waiting_s = sum(one.frames / head.sample_rate for head, one in self._waiting)
            return first

    def _block(self, header: StreamHeader, block: Block) -> TapBlock:
        import numpy as np

        lost = block.first_frame - self._next if header is self._header else 0
        self._header, self._next = header, block.first_frame + block.frames
        reading = self._clock.read()
        arrived_ns = block.arrived_ns - reading.raw_ns + reading.monotonic_ns
        return TapBlock(
            frame=block.first_frame,
            monotonic_ns=arrived_ns - block.frames * SECOND_NS // header.sample_rate,
            sample_rate=header.sample_rate,
            lost=max(lost, 0),
            pcm=np.frombuffer(block.pcm, "<i2").reshape(-1, header.channels),
        )

    def _resample(self, block: TapBlock) -> TapBlock:
        if self._rate is None:
            return block
        if self._resampled is None or not self._resampled.continues(block):
            self._resampled = _Resampled(block, self._rate)
        return self._resampled.write(block)


class _Resampled:
    """A stream without a hole, at another rate and mono."""

    def __init__(self, first: TapBlock, rate: int) -> None:
        import soxr

        self._given, self._rate = first.sample_rate, rate
        self._stream: soxr.ResampleStream = soxr.ResampleStream(
            first.sample_rate, rate, 1, dtype="int16"
        )
        self._first_in, self._in = first.frame, 0
        self._first_out, self._out = first.frame * rate // first.sample_rate, 0

    def continues(self, block: TapBlock) -> bool:
        """Tell whether a block is the next one of this stream."""
        expected = self._first_in + self._in
        return block.sample_rate == self._given and block.frame == expected

    def write(self, block: TapBlock) -> TapBlock:
        import numpy as np

        mono = np.rint(block.pcm.mean(axis=1)).astype(np.int16)
        behind_s = self._in / self._given - self._out / self._rate  # what the filter holds
        pcm = self._stream.resample_chunk(mono)
        frame = self._first_out + self._out
        self._in += len(mono)
        self._out += len(pcm)
        return TapBlock(
            frame=frame,
            monotonic_ns=block.monotonic_ns - round(behind_s * SECOND_NS),
            sample_rate=self._rate,
            lost=block.lost * self._rate // self._given,
            pcm=pcm.reshape(-1, 1),
        )
