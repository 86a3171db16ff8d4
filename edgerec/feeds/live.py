"""Checks the stamps of blocks from a live device that an application reads for us.

Stamps say when blocks were delivered, so such a feed is a device like any other, and drifts like
one; blocks under a header line that says `live` may come without, and are stamped here. Stamps come
from outside: with impossible ones the synchronizer would wait for the future, and hold what comes
until then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edgerec.audio import Block, BlockFlags, DeviceFrame, StreamHeader
from edgerec.clock import SECOND_NS, Clock
from edgerec.feeds.connection import FeedError
from edgerec.feeds.playback import QUEUE_BYTES, QUEUE_NS
from edgerec.wire.blocks import SAMPLE_BYTES

MAX_FUTURE_NS: Final = QUEUE_NS  # as much as is queued without stamps: it plays until then
MAX_AGE_NS: Final = 10 * SECOND_NS  # what is older is from another boot, another clock or a file
FASTEST: Final = 1.001  # of real time: no crystal is 1000 ppm off
MAX_BLOCK_S: Final = 2  # both tracks wait for a block to fill, and history has room for seconds
BLOCK_COST_NS: Final = SECOND_NS // 10_000  # least that a block counts, however short
OPENING_COST_NS: Final = SECOND_NS // 20  # what a stream counts beside its audio
_NOT_LIVE: Final = "a stamped stream is a live device; with arrived_ns 0 it is queued and played"


class LiveAllowance:
    """Limits one track's stamped audio to the time that passes, across all of its streams.

    After a stall as much may come at once as an unstamped stream may queue; from then on, as much
    as time passes.
    """

    def __init__(self) -> None:
        self._used = 0.0  # of all that may come at once
        self._since_ns: int | None = None

    def take(self, block: Block, header: StreamHeader, now_ns: int, *, opens: bool) -> None:
        """Count a block; `opens`: it is the first of its stream.

        Raises
        ------
        FeedError
            The block exceeds the allowance.
        """
        byte_rate = header.sample_rate * header.channels * SAMPLE_BYTES
        burst_ns = min(QUEUE_NS, QUEUE_BYTES * SECOND_NS // byte_rate)
        passed_ns = 0 if self._since_ns is None else now_ns - self._since_ns
        self._since_ns = now_ns
        left = max(self._used - passed_ns * FASTEST / burst_ns, 0.0)
        cost_ns = max(block.frames * SECOND_NS / header.sample_rate, BLOCK_COST_NS)
        self._used = left + (cost_ns + (OPENING_COST_NS if opens else 0)) / burst_ns
        if self._used > 1:
            self._used = left
            raise FeedError("too_fast", "more audio than time has passed", _NOT_LIVE)


class LiveFeed:
    """The blocks of one stamped stream, on our clock.

    Parameters
    ----------
    header
        The stream's own header, unchanged.
    allowance
        The track's allowance.
    """

    def __init__(self, header: StreamHeader, clock: Clock, allowance: LiveAllowance) -> None:
        self._allowance = allowance
        self._sent = header
        self._clock = clock
        byte_rate = header.sample_rate * header.channels * SAMPLE_BYTES
        # As much audio may come at once, after a stall, as is queued of an unstamped stream.
        self._burst_ns = min(QUEUE_NS, QUEUE_BYTES * SECOND_NS // byte_rate)
        self._ahead_ns = 0.0  # audio that came faster than time passed
        self._last: Block | None = None
        self._base = 0  # the first block's `first_frame`

    def take(self, block: Block, now_ns: int) -> Block:
        """Return a block as a device of ours would have delivered it.

        Raises
        ------
        FeedError
            It can't have been delivered at the instant of its stamp, or is too long to wait for.
        """
        if block.frames > MAX_BLOCK_S * self._sent.sample_rate:
            raise FeedError(
                "malformed",
                f"a stamped block of {block.frames / self._sent.sample_rate:.1f} s",
                f"send blocks of {MAX_BLOCK_S} s at most, as a live device does; 0.1 s is usual",
            )
        self._allowance.take(block, self._sent, now_ns, opens=self._last is None)
        offset_ns = 0
        if self._sent.clock == "monotonic":
            # Measured again each time: NTP bends CLOCK_MONOTONIC against the raw one.
            reading = self._clock.read()
            offset_ns = reading.raw_ns - reading.monotonic_ns
        arrived_ns = block.arrived_ns + offset_ns
        if self._sent.live and block.arrived_ns == 0:
            arrived_ns = self._clock.now_ns()
        else:
            _check_age(now_ns - arrived_ns)
        first, flags = self._position(block, arrived_ns)
        taken = replace(
            block,
            first_frame=first,
            arrived_ns=arrived_ns,
            adc_ns=block.adc_ns + offset_ns if block.adc_ns else 0,
            flags=flags,
        )
        self._last = taken
        return taken

    def _position(self, block: Block, arrived_ns: int) -> tuple[DeviceFrame, int]:
        """Count from 0, and watch that no more is counted than can have been sampled."""
        if self._last is None:
            self._base = block.first_frame
            return DeviceFrame(0), block.flags | BlockFlags.NEW_STREAM
        first = DeviceFrame(block.first_frame - self._base)
        counted = first + block.frames - (self._last.first_frame + self._last.frames)
        if first < self._last.first_frame + self._last.frames:
            back = f"a block at frame {block.first_frame} that was counted already"
            raise FeedError("malformed", back, "first_frame counts on within a stream")
        passed_ns = (arrived_ns - self._last.arrived_ns) * FASTEST
        counted_ns = counted * SECOND_NS / self._sent.sample_rate
        self._ahead_ns = max(self._ahead_ns + counted_ns - passed_ns, 0.0)
        if self._ahead_ns > self._burst_ns:
            raise FeedError(
                "too_fast",
                f"{self._ahead_ns / 1e9:.0f} s of audio more than time has passed",
                _NOT_LIVE,
            )
        return first, block.flags & ~BlockFlags.NEW_STREAM


def _check_age(age_ns: int) -> None:
    if -MAX_FUTURE_NS <= age_ns <= MAX_AGE_NS:
        return
    when = f"{age_ns / 1e9:.1f} s ago" if age_ns > 0 else f"{-age_ns / 1e9:.1f} s from now"
    raise FeedError(
        "bad_stamp",
        f"a block that says it was handed over {when}",
        "arrived_ns is on the header's clock; with 0 the block is queued and played",
    )
