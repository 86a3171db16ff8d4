"""Is what a capture child sends the audio of its own device?

A sound server moves streams to other devices: at their beginning, while they are pinned, and when
their device goes away (see `device_watch`). What may be of another one waits here until that has
been told, or would have been; what is of another one is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from edgerec.audio import Block, BlockFlags, Delivery, StreamHeader
from edgerec.capture.devices import PULSE_PREFIX
from edgerec.capture.findings import SUSPECT_NS, Findings

HOLD_NS: Final = 200_000_000
"""Of its arrival: that it is another device's is heard of within milliseconds."""
_SECOND_NS: Final = 1_000_000_000

Message = StreamHeader | Block
"""What a child sends."""


class OwnAudio:
    """What one child has sent, as long as it is not known whose it is.

    Parameters
    ----------
    findings
        About the track's device.
    pid
        The child's.
    """

    def __init__(self, findings: Findings, pid: int) -> None:
        self._findings = findings
        self._pid = pid
        self._beginning: list[Message] = []  # of a stream that may still be moved
        self._begun_ns: int | None = None  # when that came; None: nothing is waited for
        self._newest: Block | None = None  # of a watched device, which may be swapped by now
        self._rate = 0  # of the stream that has passed
        self._opens_stream = False  # the next block is the first behind a header

    def sift(self, messages: Iterable[Message], now_ns: int) -> Iterator[Message]:
        """Take in what has come, and yield what by now is known to be its own, in order.

        The beginning of a sound server's stream waits to be vouched for: until then it may be
        moved, and a moment of it would be heard before a hole. Not for long: the watch may have
        missed it. The first block of a stream that passes is marked as that: what the child marked
        may have been dropped.
        """
        for message in messages:
            if isinstance(message, StreamHeader) and self._may_be_moved(message):
                self._begun_ns = now_ns
            if self._begun_ns is None:
                yield from self._pass(message)
            else:
                self._beginning.append(message)
        if self._begun_ns is not None and (
            now_ns - self._begun_ns >= SUSPECT_NS or self._findings.vouched(self._pid)
        ):
            yield from self._pass_beginning()
        if self._newest is not None and now_ns - self._newest.arrived_ns > HOLD_NS:
            yield from self.newest()

    def newest(self) -> Iterator[Message]:
        """Yield the block that is held back, if any: a swap of its device has not been told."""
        newest, self._newest = self._newest, None
        if newest is not None:
            yield newest

    def rest(self) -> Iterator[Message]:
        """Yield all that waits: the child has ended, and nobody will tell anything of it."""
        yield from self._pass_beginning()
        yield from self.newest()

    def _may_be_moved(self, header: StreamHeader) -> bool:
        served = header.device.startswith(PULSE_PREFIX)
        return served and self._findings.followed and not self._findings.vouched(self._pid)

    def _pass_beginning(self) -> Iterator[Message]:
        beginning, self._beginning, self._begun_ns = self._beginning, [], None
        for message in beginning:
            yield from self._pass(message)

    def _pass(self, message: Message) -> Iterator[Message]:
        """Yield the newest block so far, and this message, unless it is to wait in its place.

        For a swap is heard of within milliseconds, but not before its first frames may be here.
        """
        if isinstance(message, StreamHeader):
            self._rate, self._opens_stream = message.sample_rate, True
            yield from self.newest()
            yield message
        elif self._findings.began_ns(self._pid) <= max(self._sampled_ns(message), 0):
            yield from self.newest()
            if self._opens_stream:
                message = replace(message, flags=message.flags | BlockFlags.NEW_STREAM)
            self._opens_stream = False
            if self._findings.vouched(self._pid):
                self._newest = message
            else:
                yield message

    def _sampled_ns(self, block: Block) -> int:
        """Return when a block began to be sampled, or a block before: they may come in pairs."""
        return block.arrived_ns - 2 * block.frames * _SECOND_NS // self._rate


def sent_before(suspected_ns: int, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return what is a swapped device's own for sure; what came later may be another one's."""
    until_ns = suspected_ns - HOLD_NS
    return list(
        takewhile(lambda one: not isinstance(one, Block) or one.arrived_ns <= until_ns, deliveries)
    )
