"""What a capture child sends, held back while it may be the audio of another device.

A sound server moves streams to other devices: at their beginning, while they are pinned, and when
their device goes away (see `device_watch`). What may be of another one waits here until that has
been told, or would have been; what is of another one is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, takewhile
from typing import Final

from edgerec.audio import Block, BlockFlags, Delivery, StreamHeader
from edgerec.capture.devices.device_verdict import SUSPECT_NS, Findings

HOLD_NS: Final = 200_000_000
"""Of its arrival: that it is another device's is heard of within milliseconds."""
BEGINNING_NS: Final = 1_000_000_000
"""For a stream's beginning to be vouched for, at most, and before it counts as stalled. The watch
asks when its header has come, and says so if the server that it follows does not know the stream:
then nothing is waited for."""
ENDED_NS: Final = 500_000_000
"""For an answer about a child that has ended: a server that takes no client gives none, and the end
is to be found within two seconds."""
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
        self._held: deque[Message] = deque()  # of a device that may be swapped by now
        self._suspected_ns: int | None = None  # since when it may be, at the last look
        self._rate = 0  # of the stream that has passed
        self._opens_stream = False  # the next block is the first behind a header

    @property
    def doubted(self) -> bool:
        """Whether it was being looked into, at the last `sift`, whose audio it is."""
        return self._suspected_ns is not None

    @property
    def held_since_ns(self) -> int | None:
        """When the oldest block came that waits here; None while none does."""
        waiting = (one for one in chain(self._held, self._beginning) if isinstance(one, Block))
        oldest = next(waiting, None)
        return None if oldest is None else oldest.arrived_ns

    def sift(
        self, messages: Iterable[Message], now_ns: int, *, ended: bool = False
    ) -> Iterator[Message]:
        """Take in what has come, and yield what by now is known to be its own, in order.

        The beginning of a sound server's stream waits to be vouched for: until then it may be
        moved, and a moment of it would be heard before a hole. Not for long: the watch may have
        missed it. The first block of a stream that passes is marked as that: what the child marked
        may have been dropped.

        Parameters
        ----------
        ended
            The child has, and has sent all: this is not waited for as long.
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
        """Yield what is held back of a stream that has passed: a swap has not been told."""
        while self._held and not self.doubted:
            yield self._held.popleft()

    def rest(self) -> Iterator[Message]:
        """Yield all that waits: the child has ended, and nobody will tell anything of it.

        While it is doubted somebody may, and nothing is yielded.
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

        For a swap is heard of within milliseconds, but not before its first frames may be here.
        """
        if isinstance(oldest, StreamHeader):
            return False
        if self._suspected_ns is not None:
            return oldest.arrived_ns > self._suspected_ns - HOLD_NS
        is_newest = len(self._held) == 1
        is_fresh = now_ns - oldest.arrived_ns <= HOLD_NS
        return is_newest and is_fresh and self._findings.vouched(self._pid)

    def _sampled_ns(self, block: Block) -> int:
        """Return when a block began to be sampled, or a block before: they may come in pairs."""
        return block.arrived_ns - 2 * block.frames * _SECOND_NS // self._rate


def sent_before(suspected_ns: int, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return what is a swapped device's own for sure; what came later may be another one's."""
    until_ns = suspected_ns - HOLD_NS
    return list(
        takewhile(lambda one: not isinstance(one, Block) or one.arrived_ns <= until_ns, deliveries)
    )
