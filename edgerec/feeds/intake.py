"""Everything that is pushed into one track: what is queued, what plays, what was heard.

Blocks without stamps are queued and played (`playback`); with stamps they come from a live device
(`live`). A stream's first block decides which of the two it is. What has a stamp in the future is
held until then.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import Block, ClockName, Delivery, StreamEnded, StreamHeader, TrackName
from edgerec.clock import SECOND_NS, Clock
from edgerec.feeds.connection import FeedError, check_form
from edgerec.feeds.live import LiveAllowance, LiveFeed
from edgerec.feeds.playback import PAUSE, QUEUE_BYTES, Loudspeaker
from edgerec.feeds.playlog import Account, PlayLog, Spoken

MAX_NAME: Final = 64  # characters of an application's own name for its device


@dataclass(frozen=True, slots=True)
class HeldDelivery:
    """What is delivered when it is due, and the record of its stream."""

    delivery: Delivery
    spoken: Spoken | None
    """None: it was played from the queue, which keeps that record."""


class Intake:
    """One track's streams, in whatever order applications push them; for one thread at a time."""

    def __init__(self, track: TrackName, clock: Clock) -> None:
        self.log = PlayLog()
        """What has become of every frame."""
        self._track = track
        self._clock = clock
        self._speaker = Loudspeaker(self.log)
        self._allowance = LiveAllowance()
        self._header: StreamHeader | None = None  # of the stream that is pushed
        self._empty = True  # it has had no block
        self._begun = False  # what it has had is not cut off: blocks continue it
        self._live: LiveFeed | None = None  # it is stamped
        self._spoken: Spoken | None = None  # its record, then
        self._held: deque[HeldDelivery] = deque()  # of live streams
        self._held_bytes = 0
        self._ended: list[Spoken] = []

    @property
    def playing(self) -> bool:
        """Whether something plays, or did a moment ago and may continue."""
        return self._speaker.playing or bool(self._held)

    @property
    def clock(self) -> ClockName:
        """The clock of the stream's stamps."""
        return "monotonic_raw" if self._header is None else self._header.clock

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the stream, in Hz; 1: none was opened."""
        return 1 if self._header is None else self._header.sample_rate

    def full(self, now_ns: int) -> bool:
        """Whether no more should be pushed for now."""
        return self._held_bytes > QUEUE_BYTES or self._speaker.full(now_ns)

    def plays_ns(self, now_ns: int) -> int:
        """Return how long what is queued will still play."""
        return max(self._speaker.queued_ns(now_ns), self._held_until_ns() - now_ns)

    def open(self, header: StreamHeader) -> None:
        """Begin a stream.

        Raises
        ------
        FeedError
            It is of another track, or more than a feed may send, or the one before is empty.
        """
        if header.track != self._track:
            raise FeedError(
                "wrong_track",
                f"a block stream of the {header.track} track on a feed of {self._track}",
                f"say {self._track} in its header line",
            )
        if self._header is not None and self._empty:
            raise FeedError("malformed", "two header lines with no block between them", "")
        check_form(header.sample_rate, header.channels)
        self._header = header
        self._begun = False
        self._empty = True

    def take(self, block: Block, now_ns: int) -> None:
        """Queue a block of the stream.

        Raises
        ------
        FeedError
            It does not belong to such a stream, or its stamp can't be true.
        """
        assert self._header is not None  # the decoder refuses a block before the header line
        stamped = self._is_stamped(block)
        if not self._begun:
            self._begin(self._header, now_ns, stamped=stamped)
            self._begun = True
            self._empty = False
        if stamped != (self._live is not None):
            raise FeedError(
                "malformed",
                "stamped and unstamped blocks in one stream",
                "stamp all blocks after a header line, or none",
            )
        if self._live is None:
            self._speaker.push(_on_our_clock(self._header), block.pcm, now_ns)
        else:
            self._hold(self._live.take(block, now_ns), self._header.sample_rate)

    def take_cleared(self, block: Block, now_ns: int) -> None:
        """Take in a block that was sent before a `clear`: what would be queued is dropped.

        Raises
        ------
        FeedError
            As for `take`.
        """
        assert self._header is not None
        if self._is_stamped(block):
            self.take(block, now_ns)
        else:
            self._ended.append(self.log.drop(block.frames, self._header.sample_rate, now_ns))

    def fail(self, fault: StreamEnded, now_ns: int) -> None:
        """End the stream with a fault: more was expected, and is lost."""
        if self._live is not None:
            self._end_live(fault)
        else:
            self._speaker.break_off(fault, now_ns)
        self._forget()

    def finish(self) -> None:
        """End the stream; what is queued is played."""
        if self._live is not None:
            self._end_live(PAUSE)
        self._forget()

    def clear(self, at_ns: int, now_ns: int) -> Account:
        """Drop what would play from an instant on; return what was heard of the utterance.

        What was delivered already can't be dropped.
        """
        held = [one.spoken.first for one in self._held if one.spoken is not None]
        live = [] if self._spoken is None else [self._spoken.first]
        first = min([self._speaker.position, *held, *live])
        self._speaker.clear(at_ns)
        self._clear_held(at_ns)
        return self.log.between(first, self.log.pushed, max(at_ns, now_ns))

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what was played or arrived live since the last call."""
        delivered: list[Delivery] = []
        while self._held:
            oldest = self._held[0]
            match oldest.delivery:
                case Block(arrived_ns=due_ns, pcm=pcm):
                    if due_ns > now_ns and due_ns > self._clock.now_ns():  # it may have just come
                        return delivered
                    self._held_bytes -= len(pcm)
                case StreamEnded() if oldest.spoken is not None:
                    self._ended.append(oldest.spoken)
            delivered.append(oldest.delivery)
            self._held.popleft()
        return delivered + self._speaker.play(now_ns)

    def ended(self) -> list[Spoken]:
        """Return the utterances that have ended since the last call."""
        ended = [*self._ended, *self._speaker.ended]
        self._ended.clear()
        self._speaker.ended.clear()
        return ended

    def _is_stamped(self, block: Block) -> bool:
        return block.arrived_ns != 0 or (self._header is not None and self._header.live)

    def _begin(self, header: StreamHeader, now_ns: int, *, stamped: bool) -> None:
        if self._live is not None:
            self._end_live(PAUSE)
        if not stamped:
            self._speaker.start_no_sooner(self._held_until_ns())
            return
        if self._speaker.queued_ns(now_ns) > 0:
            raise FeedError(
                "busy",
                "a stamped block while queued audio is playing "
                f"({self._speaker.queued_ns(now_ns) / 1e9:.1f} s more)",
                "a live stream begins when what was queued has been played",
            )
        self._live = LiveFeed(header, self._clock, self._allowance)
        self._spoken = self.log.begin(header.sample_rate, now_ns)
        self._speaker.clear(now_ns)  # nothing continues it
        for played in self._speaker.play(now_ns):
            self._held.append(HeldDelivery(played, None))
            self._held_bytes += len(played.pcm) if isinstance(played, Block) else 0
        self._held.append(HeldDelivery(_on_our_clock(header), self._spoken))

    def _hold(self, block: Block, rate: int) -> None:
        assert self._spoken is not None
        self._spoken.frames += block.frames
        # As if what was lost before the block had been played earlier.
        self._spoken.start_ns = block.arrived_ns - self._spoken.frames * SECOND_NS // rate
        self._held.append(HeldDelivery(block, self._spoken))
        self._held_bytes += len(block.pcm)

    def _end_live(self, ending: StreamEnded) -> None:
        assert self._spoken is not None
        self._held.append(HeldDelivery(ending, self._spoken))
        self._live = self._spoken = None

    def _forget(self) -> None:
        self._header = None
        self._begun = False

    def _held_until_ns(self) -> int:
        blocks = (one.delivery for one in reversed(self._held))
        return next((one.arrived_ns for one in blocks if isinstance(one, Block)), 0)

    def _clear_held(self, at_ns: int) -> None:
        """Drop held blocks from an instant on; a stream that is cut may begin again."""
        held, self._held = self._held, deque()
        self._held_bytes = 0
        cut: set[int] = set()
        for one in held:
            block, spoken = one.delivery, one.spoken
            if isinstance(block, Block):
                if spoken is not None and (block.arrived_ns > at_ns or id(spoken) in cut):
                    kept = _before(block, 0 if id(spoken) in cut else at_ns, spoken.rate)
                    spoken.drop_after(spoken.frames - (block.frames - kept.frames))
                    cut.add(id(spoken))
                    if not kept.frames:
                        continue
                    block = kept
                self._held_bytes += len(block.pcm)
            self._held.append(HeldDelivery(block, spoken))
        if id(self._spoken) in cut:
            self._end_live(PAUSE)
            self._begun = False


def _before(block: Block, at_ns: int, rate: int) -> Block:
    """Return the part of a block that plays before an instant."""
    start_ns = block.arrived_ns - block.frames * SECOND_NS // rate
    frames = min(max((at_ns - start_ns) * rate // SECOND_NS, 0), block.frames)
    return replace(
        block,
        frames=frames,
        arrived_ns=start_ns + frames * SECOND_NS // rate,
        pcm=block.pcm[: frames * (len(block.pcm) // block.frames)],
    )


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
