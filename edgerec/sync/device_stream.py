"""Decides which device frames a stream really holds and which are missing: blocks in, pieces out.

Works in device frames alone; the timeline is not known here. Pieces leave once it is decided
whether something is missing before them: at once while arrivals are on time, after at most a
second when they are not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import Block, BlockFlags, DeviceFrame, GapReason, StreamHeader
from edgerec.sync.dated_clock import DatedClock
from edgerec.sync.device_clock import HOLD_S, LIVE_SETTLE_S, SETTLE_S, DeviceClock
from edgerec.sync.lateness import LIVE_LONGER_S, MAX_LONGER_S, Judgement, LateRun, StepRun

FORGET_S: Final = 2.0  # before a session: enough to settle, and to wait for the other track
MOST_OFF_NS: Final = 10_000_000_000  # of a date from the arrival: a server holds seconds; nonsense
MAX_EARLY_S: Final = 1.0  # frames from this far in the future: the stream's count is nonsense

_OVERFLOW: Final = BlockFlags.OVERFLOW.value  # an int: `&` of a flag makes an object a block


class BrokenStreamError(Exception):
    """A block with an impossible frame count; the stream must be treated as a new one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive frames whose place in their stream is decided."""

    first: DeviceFrame
    """First frame of the piece, counted since the stream began, all lost frames included."""
    frames: int
    pcm: bytes
    missing: GapReason | None
    """Reason why frames are missing right before this piece; None if none are."""
    arrived_ns: int
    date: tuple[int, float] | None = None
    """Instant at which a sound server says the first frame was sampled, and its error in s."""


class DeviceStream:
    """One stream, from its header to its end; for the recorder thread only.

    Parameters
    ----------
    header
        The stream's own header, unchanged.
    prior_ppm
        The device's drift as remembered from an earlier stream.
    uncounted
        What it means that all frames come late from some point on: XRUN, the device lost frames
        without counting them; QUIET, it had nothing to deliver in between.
    """

    def __init__(
        self, header: StreamHeader, prior_ppm: float | None, uncounted: GapReason = GapReason.XRUN
    ) -> None:
        self.header = header
        self._uncounted = uncounted
        self.clock: DatedClock | DeviceClock
        if header.dated:
            self.clock = DatedClock(header.sample_rate, prior_ppm)
        else:
            settle_s = LIVE_SETTLE_S if header.live else SETTLE_S
            self.clock = DeviceClock(header.sample_rate, prior_ppm, settle_s)
        self._hand: deque[Piece] = deque()
        self._suspects = 0  # how many pieces at the end of the hand came late
        # A source that is quiet at times is as late as its pause was long.
        quiet = uncounted is GapReason.QUIET
        self._late = LateRun(0.0 if quiet else LIVE_LONGER_S if header.live else MAX_LONGER_S)
        self._steps = StepRun()
        self._found = 0  # frames lost uncounted, found by the clock
        self._counted: int | None = None  # the next block's `first_frame`, if nothing is lost
        self.block_frames = 0
        """Length of the last block in frames: what is always still on its way."""
        self.last_arrived_ns = 0

    @property
    def settled(self) -> bool:
        """Whether the clock has seen enough to place frames by it."""
        return self.clock.settled

    @property
    def empty(self) -> bool:
        """Whether no block has come yet."""
        return self._counted is None

    @property
    def end(self) -> DeviceFrame:
        """The frame after the last one received."""
        return DeviceFrame((self._counted or 0) + self._found)

    @property
    def first_in_hand(self) -> DeviceFrame | None:
        """The oldest frame not yet taken."""
        return self._hand[0].first if self._hand else None

    def push(self, block: Block) -> None:
        """Take in the next block.

        Raises
        ------
        BrokenStreamError
            Its frame count goes back, or is too far ahead of the clock; nothing was taken in.
        """
        first = DeviceFrame(block.first_frame + self._found)
        late_s = self._late_s(first, block)
        missing = None
        if self._counted is not None and block.first_frame != self._counted:
            self._check(block, late_s)
            missing = GapReason.XRUN
            if block.flags & BlockFlags.DROPPED:
                missing = GapReason.OVERRUN
        self._counted = block.first_frame + block.frames
        self.block_frames = block.frames
        self.last_arrived_ns = block.arrived_ns
        date = None
        if block.adc_error_us and abs(block.adc_ns - block.arrived_ns) <= MOST_OFF_NS:
            date = (block.adc_ns, block.adc_error_us * 1e-6)
        piece = Piece(first, block.frames, block.pcm, missing, block.arrived_ns, date)
        self._hand.append(piece)
        if self.settled:
            self._decide(self._judge(late_s, block, date))
        else:
            self._observe(piece)

    def decided(self) -> Piece | None:
        """Return the oldest piece, if it is decided what is missing before it."""
        waiting = self._suspects if self.settled else len(self._hand)
        hold_s = HOLD_S if self.settled else self.clock.hold_s
        if len(self._hand) > waiting or self._in_hand_s() > hold_s:
            return self._hand[0]
        return None

    @property
    def in_hand(self) -> tuple[Piece, ...]:
        """The pieces not taken yet, the oldest first."""
        return tuple(self._hand)

    def take(self) -> None:
        """Drop the oldest piece."""
        if self._suspects == len(self._hand):
            self._clear(1)
            self._late.drop()
            self._steps.drop()
        self._hand.popleft()

    def put_back(self, piece: Piece) -> None:
        """Put the piece that was taken last back in hand."""
        self._hand.appendleft(piece)

    def take_all(self) -> list[Piece]:
        """Take everything in hand: no more blocks come that could decide."""
        taken = list(self._hand)
        while self._hand:
            self.take()
        return taken

    def forget(self) -> None:
        """Drop what is too old to be recorded any more, while no session is open."""
        while self._in_hand_s() > FORGET_S:
            self.take()

    def _in_hand_s(self) -> float:
        if not self._hand:
            return 0.0
        return (self.end - self._hand[0].first) / self.header.sample_rate

    def _check(self, block: Block, late_s: float) -> None:
        if self._counted is not None and block.first_frame < self._counted:
            raise BrokenStreamError(
                f"block at frame {block.first_frame} follows one that ended at {self._counted}"
            )
        if late_s < -MAX_EARLY_S:
            raise BrokenStreamError(
                f"block at frame {block.first_frame} came {-late_s:.1f} s too early for its frame "
                f"count at {self.header.sample_rate} Hz"
            )

    def _late_s(self, first: DeviceFrame, block: Block) -> float:
        """Return how late a block came by the clock; 0 for a dated stream.

        Its blocks also come early: a monitor delivers them before they are played.
        """
        if isinstance(self.clock, DatedClock):
            return 0.0
        return self.clock.lateness_s(DeviceFrame(first + block.frames), block.arrived_ns)

    def _observe(self, piece: Piece) -> None:
        end = DeviceFrame(piece.first + piece.frames)
        if not isinstance(self.clock, DatedClock):
            self.clock.observe(end, piece.arrived_ns)
            return
        self.clock.observe_arrival(end, piece.arrived_ns)
        if piece.date is not None:
            self.clock.observe(piece.first, *piece.date)

    def _judge(self, late_s: float, block: Block, date: tuple[int, float] | None) -> Judgement:
        """Judge the newest piece, and the suspect ones before it."""
        overflow = bool(block.flags & _OVERFLOW)
        if isinstance(self.clock, DatedClock):
            off_s = None if date is None else self.clock.off_s(self._hand[-1].first, date[0])
            return self._steps.judge(
                off_s, block.arrived_ns, misplaced_s=self.clock.misplaced_s, overflow=overflow
            )
        return self._late.judge(
            late_s,
            block.arrived_ns,
            usual_s=self.clock.usual_late_s,
            longer_s=self.clock.longer_s,
            overflow=overflow,
            most=int(HOLD_S * self.header.sample_rate) // block.frames + 1,
        )

    def _decide(self, judgement: Judgement) -> None:
        """Do what a judgement on the newest piece says."""
        self._suspects += 1
        if judgement.slower_s and isinstance(self.clock, DeviceClock):
            self.clock.add_latency(judgement.slower_s)
        if judgement.lost_s > 0:
            self._insert_missing(round(judgement.lost_s * self.header.sample_rate))
        elif judgement.lost_s < 0 and isinstance(self.clock, DatedClock):
            self.clock.step(judgement.lost_s)  # nothing is missing: it stood too late all the while
        self._clear(judgement.cleared)

    def _insert_missing(self, frames: int) -> None:
        """Shift the late pieces by the frames found missing before the first of them."""
        late = [self._hand.pop() for _ in range(self._suspects)]
        for nth, piece in enumerate(reversed(late)):
            missing = piece.missing
            if nth == 0 and missing is None:
                missing = self._uncounted
            first = DeviceFrame(piece.first + frames)
            self._hand.append(replace(piece, first=first, missing=missing))
        self._found += frames

    def _clear(self, number: int) -> None:
        """Let the clock know of the oldest suspects, which are decided."""
        # Deferred until here: a late block carries no clock information, and a block after lost
        # frames would bias the estimate.
        for nth in range(-self._suspects, number - self._suspects):
            self._observe(self._hand[nth])
        self._suspects -= number
