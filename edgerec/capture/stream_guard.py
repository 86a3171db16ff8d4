"""Guards what a capture child sends: whether it is its own device's, at the rate that it claims.

A sound server moves streams to other devices: at their beginning, while they are pinned, and when
their device goes away (see `devices.watch`). Blocks that may come from a different device are held
until a device change would have been reported; those of another device are dropped.

A device whose clock is set up for another rate delivers 44,100 frames in the time of 48,000, and
nothing else reveals that: its sound would be too high, and drift further every second. Lost frames
do not look like that: the measured rate must be one of the standard rates, steadily.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise, takewhile
from typing import Final, NamedTuple

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


USUAL_HZ: Final = (
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
    176_400, 192_000,
)  # fmt: skip
WINDOW_NS: Final = 1_000_000_000
"""Length of a window; its earliest arrival counts, because late ones are due to the scheduler."""
WINDOWS: Final = 5
STEADY: Final = 0.03
"""Tolerance of a rate from one window to the next: 30 ms of jitter. The nearest two usual rates
differ by 8 %; a stall, a burst or a loss does not look like a rate in four windows in a row."""
EXACT: Final = 0.01
"""Tolerance of a rate over all windows."""


class _Arrival(NamedTuple):
    end: int
    at_ns: int
    late_ns: float


class Pace:
    """Measures the rate of one stream, whose header claims `rate` in Hz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._earliest: deque[_Arrival] = deque(maxlen=WINDOWS)
        self._window: _Arrival | None = None
        self._window_end_ns = 0

    def observe(self, end: int, arrived_ns: int) -> int | None:
        """Take in that the frames before `end` had arrived; return the stream's true rate.

        Returns
        -------
        None while there is no evidence against the claimed rate.
        """
        arrival = _Arrival(end, arrived_ns, arrived_ns - end * 1e9 / self._rate)
        if self._window is not None and arrived_ns < self._window_end_ns:
            self._window = min(self._window, arrival, key=lambda one: one.late_ns)
            return None
        if self._window is not None:
            self._earliest.append(self._window)
        self._window = arrival
        self._window_end_ns = arrived_ns + WINDOW_NS
        return self._true_rate()

    def _true_rate(self) -> int | None:
        if len(self._earliest) < WINDOWS:
            return None
        overall = _hz(self._earliest[0], self._earliest[-1])
        usual = min(USUAL_HZ, key=lambda hz: abs(hz - overall))
        if abs(overall / self._rate - 1) < STEADY or abs(overall / usual - 1) > EXACT:
            return None
        steady = all(
            abs(_hz(one, following) / usual - 1) <= STEADY
            for one, following in pairwise(self._earliest)
        )
        return usual if steady else None


def _hz(one: _Arrival, later: _Arrival) -> float:
    passed_ns = later.at_ns - one.at_ns
    return (later.end - one.end) * 1e9 / passed_ns if passed_ns > 0 else 0.0


class TrueRate:
    """The true rate of one track's device: a measured rate holds until another one is measured."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None  # by the last header: device, rate
        self._found: tuple[tuple[str, int], int] | None = None  # what was said, and the truth
        self._pace: Pace | None = None
        self._rate = 0

    def begin(self, header: StreamHeader) -> StreamHeader:
        """Return the header of a stream with the device's true rate."""
        self._said = (header.device, header.sample_rate)
        self._rate = header.sample_rate
        if self._found is not None and self._found[0] == self._said:
            self._rate = self._found[1]
        self._pace = Pace(self._rate)
        return replace(header, sample_rate=self._rate)

    def judge(self, block: Block) -> str | None:
        """Return why the stream can't continue: its frames do not have the rate it began with."""
        if self._said is None or self._pace is None:
            return None
        rate = self._pace.observe(block.first_frame + block.frames, block.arrived_ns)
        if rate is None:
            return None
        self._found = (self._said, rate)
        return f"{self._said[0]} delivers {rate} frames a second instead of {self._rate}"
