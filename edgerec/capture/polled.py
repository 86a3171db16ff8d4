"""Reads a PortAudio stream that was opened without a callback, and has its frames dated.

`read_available` gives the number of frames at the instant at which the sound server is asked
for its latencies; a callback can't. The stream's buffer of `BUFFER_S` rides out stalls. Without
numpy: the capture child uses it.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from edgerec.capture.dating.pulse import Dating, Reading
from edgerec.clock import SECOND_NS, raw_now_ns
from edgerec.wire.pipe import BlockSender

BUFFER_S: Final = 4.0
"""Length of the stream's buffer: what a child that gets no processor does not lose."""
BEGINNING_POLL_S: Final = 0.1
"""Longest time between two polls while the stream's place is being found."""
UNEVEN: Final = 0.15
"""Share by which polls are varied, so that they do not fall into step with the server's lumps."""
BEGINNING: Final = 40
"""Number of readings at the beginning, one per poll; then one per `READING_S`. Those of the first
second are lost: the recorder pins the stream to its source, and keeps nothing from before."""
ENOUGH: Final = 5
"""Number of readings, one per poll, after something has happened."""
TRY_AGAIN_S: Final = 0.02
"""Time after a refused reading at the beginning: a lump is on its way, or the machine is busy."""
TRIES: Final = 100
"""Number of these; then one per poll again, so that a server that never answers costs no more."""
READING_S: Final = 2.0
STEP_NS: Final = 3_000_000
"""Deviation of a reading that is checked by further ones at once."""


class PolledStream(Protocol):
    """The part of `sounddevice.RawInputStream` that is used."""

    @property
    def read_available(self) -> int:
        """Number of frames that can be read at once."""

    def read(self, frames: int) -> tuple[Any, bool]:
        """Return that many frames, and whether some were lost before them."""


class PolledCapture:
    """One stream on its way to the pipe; for one thread.

    Parameters
    ----------
    block_frames
        Maximum length of a block, and time between two polls, in frames.
    take
        Extracts the channels to send from those that were opened.
    """

    def __init__(
        self,
        stream: PolledStream,
        sender: BlockSender,
        dating: Dating | None,
        rate: int,
        block_frames: int,
        take: Callable[[Any], Any] = lambda pcm: pcm,
    ) -> None:
        self._stream = stream
        self._sender = sender
        self._dating = dating
        self._rate = rate
        self._block_frames = block_frames
        self._take = take
        self._read = 0  # frames so far
        self._readings: deque[Reading] = deque(maxlen=ENOUGH)  # not sent yet
        self._wanted = BEGINNING if dating else 0  # readings, one at each poll
        self._tries = TRIES
        self._refused = False
        self._due_ns = 0
        self._expected: Reading | None = None  # the last one

    def run(self) -> None:
        """Poll until the stream fails.

        Raises
        ------
        BrokenPipeError
            Nobody reads the pipe.
        sounddevice.PortAudioError
            The device is lost.
        """
        while True:
            self.poll()
            time.sleep(self.pause_s * random.uniform(1 - UNEVEN, 1 + UNEVEN))

    @property
    def pause_s(self) -> float:
        """Time until the next poll."""
        if self._dating is not None and self._dating.is_eager:
            return TRY_AGAIN_S
        if self._refused and self._wanted and self._tries:
            return TRY_AGAIN_S
        pause_s = self._block_frames / self._rate
        return min(pause_s, BEGINNING_POLL_S) if self._wanted else pause_s

    def poll(self) -> None:
        """Send all frames that there are, dated if a reading is due."""
        now_ns = raw_now_ns()
        if self._dating is not None and (
            self._wanted or self._dating.is_eager or now_ns >= self._due_ns
        ):
            self._refused = not self._take_reading(self._dating, now_ns)
            self._tries = max(self._tries - 1, 0)
        available = self._stream.read_available
        while available > 0:
            frames = self._next_frames(available)
            pcm, overflow = self._stream.read(frames)
            if overflow:
                # Taken before the loss, maybe: then they date frames that nobody gets.
                self._readings.clear()
                self._want_more()  # how many were lost is what the next ones say
            self._send(pcm, frames, overflow=overflow)
            available -= frames

    def _take_reading(self, dating: Dating, now_ns: int) -> bool:
        """Read the date of the newest frame; return whether it could be read."""
        reading = dating.read(lambda: self._read + self._stream.read_available)
        if reading is None or not reading.frames:
            return False
        self._readings.append(reading)
        self._wanted = max(self._wanted - 1, 0)
        if self._expected is not None:
            off_ns = reading.captured_ns - self._date_ns(self._expected, reading.frames)
            if abs(off_ns) > STEP_NS:
                self._want_more()
        self._expected = reading
        self._due_ns = now_ns + round(READING_S * SECOND_NS)
        return True

    def _want_more(self) -> None:
        if self._dating is not None:
            self._wanted, self._tries = max(self._wanted, ENOUGH), TRIES

    def _next_frames(self, available: int) -> int:
        """Return how many frames the next block has: each reading goes with one of its own."""
        shares = max(len(self._readings), -(-available // self._block_frames))
        return max(available // shares, 1)

    def _send(self, pcm: Any, frames: int, *, overflow: bool) -> None:
        adc_ns = adc_error_us = 0
        if self._readings:
            reading = self._readings.popleft()
            adc_ns, adc_error_us = self._date_ns(reading, self._read), reading.error_us
        self._sender.send(
            self._take(pcm),
            frames,
            raw_now_ns(),
            adc_ns,
            overflow=overflow,
            adc_error_us=adc_error_us,
        )
        self._read += frames

    def _date_ns(self, reading: Reading, frames: int) -> int:
        """Return when the frames before `frames` had been captured, at the nominal rate."""
        return reading.captured_ns + (frames - reading.frames) * SECOND_NS // self._rate
