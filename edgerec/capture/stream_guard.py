"""Holds back what a capture child sends while it may be the audio of another device.

A sound server moves streams to other devices: at their beginning, while they are pinned, and when
their device goes away (see `device_watch`). Blocks that may come from a different device are held
until a device change would have been reported; those of another device are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, takewhile
from typing import Final

from edgerec.audio import Block, BlockFlags, Delivery, StreamHeader
from edgerec.capture.devices.device_verdict import SUSPECT_NS, Findings
from edgerec.clock import SECOND_NS

HOLD_NS: Final = 200_000_000
"""Time a block waits after its arrival: a device change is reported within milliseconds."""
BEGINNING_NS: Final = 1_000_000_000
"""Maximum time until a stream's beginning is confirmed; less than until it counts as stalled. The
watch asks when the header has come, and reports if the server does not know the stream: then
nothing waits."""
ENDED_NS: Final = 500_000_000
"""Maximum time for an answer about a child that has ended: a server that accepts no client gives
none, and the end must be found within two seconds."""

Message = StreamHeader | Block
"""Message that a child sends."""


class OwnAudio:
    """Holds what one child has sent until its origin is certain.

    Parameters
    ----------
    findings
        Findings about the track's device.
    pid
        Process id of the child.
    """

    def __init__(self, findings: Findings, pid: int) -> None:
        self._findings = findings
        self._pid = pid
        self._beginning: list[Message] = []  # of a stream that may still be moved
        self._begun_ns: int | None = None  # when that came; None: nothing is waited for
        self._held: deque[Message] = deque()  # of a device that may be swapped by now
        self._suspected_ns: int | None = None  # since when it may be, at the last look
        self._rate = 0  # of the stream that has passed
        self._opens_stream = False  # the next block is the first after a header

    @property
    def doubted(self) -> bool:
        """Whether the audio's origin was still being checked at the last `sift`."""
        return self._suspected_ns is not None

    @property
    def held_since_ns(self) -> int | None:
        """Arrival of the oldest block that waits here; None while none does."""
        waiting = (one for one in chain(self._held, self._beginning) if isinstance(one, Block))
        oldest = next(waiting, None)
        return None if oldest is None else oldest.arrived_ns

    def sift(
        self, messages: Iterable[Message], now_ns: int, *, ended: bool = False
    ) -> Iterator[Message]:
        """Take in what has come, and yield in order what is now known to be its own device's.

        The beginning of a sound server's stream waits to be confirmed: until then it may be moved,
        and a moment of it would be heard before a hole. The wait is short: the watch may have
        missed the stream. The first block that passes is marked as the stream's first, because the
        one that the child marked may have been dropped.

        Parameters
        ----------
        ended
            Whether the child has ended and sent everything: then the wait is shorter.
        """
        within_ns = ENDED_NS if ended else SUSPECT_NS
        self._suspected_ns = self._findings.suspected_since(now_ns, within_ns)
        for message in messages:
            if isinstance(message, StreamHeader) and self._may_be_moved(message):
                self._begun_ns = now_ns
            if self._begun_ns is None:
                self._take_in(message)
                yield from self._pass(now_ns)
            else:
                self._beginning.append(message)
        if self._begun_ns is not None and (
            now_ns - self._begun_ns >= BEGINNING_NS or self._is_decided()
        ):
            self._take_in_beginning()
        yield from self._pass(now_ns)

    def held(self) -> Iterator[Message]:
        """Yield what is held back of a stream that has passed: no swap was reported."""
        while self._held and not self.doubted:
            yield self._held.popleft()

    def rest(self) -> Iterator[Message]:
        """Yield all that waits: the child has ended, and nothing more will be reported about it.

        While it is still being checked, nothing is yielded.
        """
        self._take_in_beginning()
        yield from self.held()

    def _may_be_moved(self, header: StreamHeader) -> bool:
        served = header.source is not None
        return served and self._findings.followed and not self._is_decided()

    def _is_decided(self) -> bool:
        return self._findings.vouched(self._pid) or self._findings.is_unknown(self._pid)

    def _take_in_beginning(self) -> None:
        beginning, self._beginning, self._begun_ns = self._beginning, [], None
        for message in beginning:
            self._take_in(message)

    def _take_in(self, message: Message) -> None:
        """Hold a message, unless it is from before the stream was its own."""
        if isinstance(message, StreamHeader):
            self._rate, self._opens_stream = message.sample_rate, True
            self._held.append(message)
        elif self._findings.began_ns(self._pid) <= max(self._sampled_ns(message), 0):
            if self._opens_stream:
                message = replace(message, flags=message.flags | BlockFlags.NEW_STREAM)
            self._opens_stream = False
            self._held.append(message)

    def _pass(self, now_ns: int) -> Iterator[Message]:
        while self._held and not self._must_wait(self._held[0], now_ns):
            yield self._held.popleft()

    def _must_wait(self, oldest: Message, now_ns: int) -> bool:
        """Whether what has waited longest may be another device's, or be found to be.

        A swap is reported within milliseconds, but its first frames may be here before that.
        """
        if isinstance(oldest, StreamHeader):
            return False
        if self._suspected_ns is not None:
            return oldest.arrived_ns > self._suspected_ns - HOLD_NS
        is_newest = len(self._held) == 1
        is_fresh = now_ns - oldest.arrived_ns <= HOLD_NS
        return is_newest and is_fresh and self._findings.vouched(self._pid)

    def _sampled_ns(self, block: Block) -> int:
        """Return when a block, or the one before it, began: they may come in pairs."""
        return block.arrived_ns - 2 * block.frames * SECOND_NS // self._rate


def sent_before(suspected_ns: int, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return what is certainly from before a swap; what came later may be another device's."""
    until_ns = suspected_ns - HOLD_NS
    return list(
        takewhile(lambda one: not isinstance(one, Block) or one.arrived_ns <= until_ns, deliveries)
    )
