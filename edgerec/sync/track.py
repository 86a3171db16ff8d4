"""Places each frame of one track on the timeline: deliveries in, history out.

Position comes from frame counts along the line of the device's clock. A hole in the count is a
gap of that length; silence for a device that delivers nothing is written by deadline; what comes
after its deadline is counted and dropped, and shifts nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Final

from edgerec.audio import (
    Block,
    Delivery,
    DeviceFrame,
    GapReason,
    StreamEnded,
    StreamHeader,
    TimelineFrame,
    TrackReport,
)
from edgerec.sync.device_stream import BrokenStreamError, DeviceStream, Piece
from edgerec.sync.placement import Placement
from edgerec.sync.resampled_run import Guide, Run
from edgerec.sync.resampler import Fold, Resampler

log = logging.getLogger(__name__)

SPLICE_S: Final = 0.01  # least declared silence where a track is placed again
EDGE_S: Final = 0.02  # after a stop, so that the resampler's end lies beyond it
PUSHED_S: Final = 0.3  # after a stop, for what an application has read and not pushed yet
MAX_REMEMBERED: Final = 32  # devices; an application may call its feed anything


class TrackTimeline:
    """One device's track; for the recorder thread only.

    Parameters
    ----------
    late_s
        How long the track may be quiet before its silence is committed.
    offset_ms
        Constant lateness of the device: its frames are placed earlier by this much.
    continuous
        Whether the source is expected to deliver all the time: when it does not, that is a gap.
    drift_memory
        Drift in ppm by device: read when a stream begins, updated while it runs.
    """

    def __init__(
        self,
        *,
        late_s: float,
        offset_ms: float,
        continuous: bool,
        drift_memory: MutableMapping[str, float],
    ) -> None:
        self.late_s = late_s
        self._offset_ms = offset_ms
        self._continuous = continuous
        self._drift_memory = drift_memory
        self._stream: DeviceStream | None = None
        self._fold = Fold(1)  # of the stream
        self._run: Run | None = None
        self._before: Resampler | None = None  # of the run before in the same stream
        self._newest: Piece | None = None  # the piece of the stream that was placed last
        self._placement: Placement | None = None
        self._last_report = TrackReport()
        self._failures = 0
        self._silence = self._reason(GapReason.ABSENT)  # what it is called when nothing comes

    def follow(self, before: TrackTimeline) -> None:
        """Take over the track from another device, which is finished."""
        self._last_report = before.report()
        if self._placement is not None and before._placement is not None:
            self._placement.count_on(before._placement)

    def move(self, offset_ms: float, placement: Placement | None) -> None:
        """Place what comes from now on by another offset; `placement` None: no timeline is open."""
        self._offset_ms = offset_ms
        if placement is not None:
            placement.count_on(self._placed)
            try:
                self._end_run()  # what is in it keeps the old offset
            finally:
                self.begin(placement)

    @property
    def header(self) -> StreamHeader | None:
        """The header of the open stream; None while there is none."""
        return self._stream.header if self._stream else None

    def begin(self, placement: Placement) -> None:
        """Start placing frames; what was sampled before the epoch is skipped."""
        self._run = self._before = None
        self._placement = placement

    def deliver(self, delivery: Delivery) -> None:
        """Take in what the source delivered."""
        match delivery:
            case StreamHeader():
                if self._stream is not None:  # else its end has said what the silence is called
                    self._end_stream(self._reason(GapReason.ABSENT))
                self._open_stream(delivery)
            case StreamEnded(reason=reason, refused_s=refused_s):
                if self._placement is not None:
                    self._placement.refused_frames += round(refused_s * self._placement.rate)
                # A source that reports what is wrong is believed; if nothing came, that is only a
                # pause where pauses are expected.
                stalled = reason is GapReason.STALL
                self._end_stream(self._reason(reason) if stalled else reason)
            case Block():
                self._push(delivery)

    def start_over(self, error: Exception, delivery: Delivery | None = None) -> None:
        """Discard all that is in hand after an error; the device's next block begins a new stream.

        Parameters
        ----------
        delivery
            What was being taken in when it failed; a header or an end is still honoured.
        """
        header = delivery if isinstance(delivery, StreamHeader) else self.header
        self._failures += 1
        if self._failures.bit_count() == 1:  # 1, 2, 4: a repeated failure must not fill the log
            log.error(
                "synchronisation of a track failed, it starts over device=%r failures=%d why=%r",
                header.device if header else None,
                self._failures,
                error,
            )
            log.debug("where it failed", exc_info=error)
        self._stream = self._run = self._before = self._newest = None
        self._silence = GapReason.RESYNC
        if self._placement is not None:
            self._splice()  # now: what follows may be called a pause
        if isinstance(delivery, StreamEnded):
            self._silence = delivery.reason
        elif header is not None:
            self._open_stream(header)

    def advance(self, now: TimelineFrame, limit: TimelineFrame) -> None:
        """Place what is decided, and give up waiting for what is overdue; nothing past `limit`.

        Parameters
        ----------
        now
            The timeline's present.
        limit
            The frame up to which the history has room.
        """
        self._remember()
        self._place_until(limit)
        patience = self.late_s * self._placed.rate + self._on_its_way()
        overdue = min(math.floor(now - patience), limit)
        if overdue <= self._placed.end:
            return
        if self._quiet_since() < now - patience:
            self._place_rest()  # nothing comes that could decide what is in hand
        elif self._received() <= overdue:
            self._end_run()  # whatever is still inside the resampler comes before the silence
        if self._run is None:
            self._placed.silence_to(self._silent_until(overdue), self._silence)

    def finish(self, stop: TimelineFrame | None = None) -> None:
        """Place everything that is in hand or inside the resampler; all of it before `stop`."""
        stream = self._stream
        if stop is None or stream is None:
            self._place_rest()
            return
        newest = self._newest
        for piece in stream.in_hand:
            if self._position(piece.first) >= stop + EDGE_S * self._placed.rate:
                break
            self._place(piece)
            if self._position(DeviceFrame(piece.first + piece.frames)) <= stop:
                stream.take()
                newest = piece
        self._newest = newest  # the others are still in hand
        self._end_run()

    def pad(self, stop: TimelineFrame) -> None:
        """Place silence up to `stop`, whatever may still come."""
        self._placed.silence_to(stop, self._silence)

    def leave(self, stop: TimelineFrame) -> None:
        """Place nothing until the next `begin`; the device keeps running.

        What came from `stop` on is kept for that session, as long as anything is kept.
        """
        newest, stream = self._newest, self._stream
        try:
            if (
                stream is not None
                and newest is not None
                and self._position(DeviceFrame(newest.first + newest.frames)) > stop
            ):
                stream.put_back(newest)
        finally:
            self._newest = None
            self._run = self._before = self._placement = None

    def first_instant_ns(self, *, settled: bool) -> float | None:
        """Return when the oldest frame in hand was sampled; None if there is none.

        Parameters
        ----------
        settled
            Whether to return None until the device's clock has seen enough to be exact.
        """
        stream = self._stream
        if stream is None or stream.first_in_hand is None or (settled and not stream.settled):
            return None
        return stream.clock.instant_ns(stream.first_in_hand) - self._offset_ms * 1e6

    def received(self, stop: TimelineFrame, now: TimelineFrame) -> bool:
        """Whether everything before `stop` has come, or nothing is coming.

        A source that is quiet at times need not be so late: what it pushes is there at once.
        """
        if self._stream is None or self._received() >= stop:
            return True
        on_its_way = self._on_its_way() + PUSHED_S * self._placed.rate
        return not self._continuous and now - stop > on_its_way

    def report(self) -> TrackReport:
        """Return what is known of the device, or of the last one, and of its placement."""
        placed = self._placement
        late_frames = 0 if placed is None else placed.late_frames
        refused_frames = 0 if placed is None else placed.refused_frames
        if self._stream is None:
            return replace(
                self._last_report, late_frames=late_frames, refused_frames=refused_frames
            )
        device, clock = self._stream.header.device, self._stream.clock
        if not self._stream.settled:
            return TrackReport(
                device=device, late_frames=late_frames, refused_frames=refused_frames
            )
        astray_s = self._run.astray_s if self._run else 0.0
        return TrackReport(
            device=device,
            drift_ppm=round(clock.drift_ppm, 3),
            residual_us=round((clock.error_s + astray_s) * 1e6, 1),
            late_frames=late_frames,
            refused_frames=refused_frames,
            fold_gain_db=self._fold.gain_db,
        )

    @property
    def _placed(self) -> Placement:
        if self._placement is None:
            raise ValueError("a track has no placement before begin()")
        return self._placement

    # The stream: from header to end

    def _open_stream(self, header: StreamHeader) -> None:
        prior_ppm = self._drift_memory.get(header.device)
        continuous = self._continuous or header.live
        uncounted = GapReason.XRUN if continuous else GapReason.QUIET
        self._stream = DeviceStream(header, prior_ppm, uncounted)
        self._fold = Fold(header.channels)

    def _reason(self, reason: GapReason) -> GapReason:
        """Return what silence is called where this reason would be that of a continuous source."""
        live = self._stream is not None and self._stream.header.live
        return reason if self._continuous or live else GapReason.QUIET

    def _push(self, block: Block) -> None:
        stream = self._stream
        if stream is None:
            raise ValueError("a block before its stream's header")
        try:
            stream.push(block)
        except BrokenStreamError as error:
            log.warning(
                "impossible frame count, the track continues after a gap device=%r why=%r",
                stream.header.device,
                str(error),
            )
            self._end_stream(GapReason.SOURCE)
            self._open_stream(stream.header)
            self._push(block)
            return
        if self._placement is None:
            stream.forget()

    def _end_stream(self, reason: GapReason) -> None:
        if self._stream is not None:
            self._last_report = self.report()
            if self._placement is not None:
                self._place_rest()
            self._remember()
        self._stream = self._before = self._newest = None
        self._silence = reason

    def _remember(self) -> None:
        stream = self._stream
        if stream is None or not stream.clock.drift_known:
            return
        device = stream.header.device
        if device in self._drift_memory or len(self._drift_memory) < MAX_REMEMBERED:
            self._drift_memory[device] = stream.clock.drift_ppm

    # Positions on the timeline

    def _position(self, frame: DeviceFrame) -> float:
        """Return where a frame of the stream goes; a run's line is as good as the clock here."""
        assert self._stream is not None
        resampler = self._run.resampler if self._run else self._before
        if resampler is not None:
            return resampler.line.timeline_at(frame)
        return self._placed.position(self._stream.clock.instant_ns(frame))

    def _received(self) -> float:
        stream = self._stream
        return -math.inf if stream is None or stream.empty else self._position(stream.end)

    def _on_its_way(self) -> float:
        """Return how many frames the device always lags by: those of the block it is filling."""
        if self._stream is None:
            return 0
        block_s = self._stream.block_frames / self._stream.header.sample_rate
        return block_s * self._placed.rate

    def _quiet_since(self) -> float:
        stream = self._stream
        return math.inf if stream is None else self._placed.position(stream.last_arrived_ns)

    def _silent_until(self, overdue: int) -> int:
        """Return how far silence may go: up to what is in hand, unless that is late already."""
        first = self._stream.first_in_hand if self._stream else None
        # Where one stream follows another, both may have a part of the same frame.
        if first is None or self._position(first) < self._placed.end - 1:
            return overdue
        return min(overdue, math.floor(self._position(first)))

    # Runs: pieces without a hole between them

    def _place_until(self, limit: TimelineFrame) -> None:
        stream = self._stream
        if stream is None:
            return
        while (piece := stream.decided()) is not None:
            if self._position(piece.first) > limit:
                if piece.missing is not None:
                    self._end_run()
                    self._placed.silence_to(limit, piece.missing)
                break
            stream.take()
            self._place(piece)
        if self._run is not None:
            self._run.go_on()

    def _place_rest(self) -> None:
        if self._stream is not None:
            for piece in self._stream.take_all():
                self._place(piece)
        self._end_run()

    def _place(self, piece: Piece) -> None:
        assert self._stream is not None
        self._newest = piece
        if piece.missing is not None:
            self._end_run()
        elif self._run is not None and self._run.astray_s > self._stream.clock.misplaced_s:
            self._place_again()
        if self._run is None:
            header = self._stream.header
            guide = Guide(self._stream.clock, self._placed, live=header.live)
            start = guide.first_joint(piece.first, self._before)
            if start[0] >= piece.first + piece.frames:
                return  # it lies before the epoch, or between two timeline frames
            why = self._silence if piece.missing is None else piece.missing
            self._run = Run(guide, self._placed, start, self._fold, why)
            self._silence = self._reason(GapReason.STALL)  # from here on, if nothing comes
        self._run.write(piece)

    def _place_again(self) -> None:
        """End a run that stands in the wrong place; the next one goes by the clock alone."""
        assert self._stream is not None
        log.warning(
            "track was misaligned, it is realigned after a gap device=%r",
            self._stream.header.device,
        )
        self._end_run()
        self._before = None
        self._silence = self._reason(GapReason.RESYNC)
        self._splice()

    def _splice(self) -> None:
        self._placed.silence_to(
            self._placed.end + round(SPLICE_S * self._placed.rate), self._silence
        )

    def _end_run(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._before = self._run.resampler
            self._run = None
