"""Feeds a run of frames to the resampler in batches, and bends its line to the device's clock.

A run has no hole in it. Its line over the timeline is bent at lattice points only, every second
at first and every 10 s later, each time so that it meets the clock's line where it ends.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import DeviceFrame, GapReason, TimelineFrame
from edgerec.sync.dated_clock import DatedClock
from edgerec.sync.device_clock import DeviceClock
from edgerec.sync.device_stream import Piece
from edgerec.sync.placement import Placement
from edgerec.sync.resampler import Fold, Line, Resampler, Samples

BATCH_S: Final = 0.24  # worth a call, when no more is at hand: a sound server's block is
SEGMENT_S: Final = 10.0  # of one line, when all is known; of 20 s a warming crystal bends too much
FIRST_SEGMENT_S: Final = 1.0
MAX_WRITE_S: Final = 1.0  # at once into the resampler: more than one look at a pipe brings
KNOWN_PER_SEGMENT: Final = 4  # a line reaches no further ahead than a quarter of what is known
JOINT_SEARCH_SHARE: Final = 0.4  # of a segment, in which the best joint is looked for
JOINTS_TRIED: Final = 1000  # the best of these is a thousandth of a frame from the clock's line
MAX_BEND: Final = 0.9e-3  # of the rate, to bring a misplaced track back; below what ears notice
LIVE_MAX_BEND: Final = 3e-3  # 5 cents: a live feed's first arrivals place it some 10 ms late
LINE_TRUST_S: Final = 10.0  # over a longer hole the clock knows better than the line before it


class Guide:
    """A device's clock seen from the timeline: the target of a run's lines.

    Parameters
    ----------
    live
        Whether it is a live feed, whose arrivals settle more slowly: its lines bend further.
    """

    def __init__(
        self, clock: DatedClock | DeviceClock, placement: Placement, *, live: bool = False
    ) -> None:
        self._clock = clock
        self._placement = placement
        self._max_bend = LIVE_MAX_BEND if live else MAX_BEND

    def device_at(self, timeline: float) -> float:
        """Return the device position that belongs on a timeline position."""
        return self._clock.frame_at(self._placement.instant_ns(timeline))

    def timeline_at(self, device: float) -> float:
        """Return the timeline position on which a device position belongs."""
        return self._placement.position(self._clock.instant_ns(device))

    def first_joint(self, first: DeviceFrame, before: Resampler | None) -> Joint:
        """Return where a run starts whose first frame is `first`.

        Parameters
        ----------
        before
            The run before in the same stream. Over a short hole the count along its line is
            exact, while the clock's own line may just be a little elsewhere.
        """
        along: Guide | Line = self
        if before is not None:
            hole = before.line.timeline_at(first) - before.line.timeline_at(before.fed)
            along = before.line if hole < LINE_TRUST_S * self._placement.rate else self
        timeline = max(math.floor(along.timeline_at(first)), 0)
        while round(along.device_at(timeline)) < first:
            timeline += 1
        return DeviceFrame(round(along.device_at(timeline))), TimelineFrame(timeline)

    @property
    def segment_s(self) -> float:
        """Length of the next line in seconds; never less than that of an earlier line."""
        return min(max(self._clock.known_s / KNOWN_PER_SEGMENT, FIRST_SEGMENT_S), SEGMENT_S)

    def next_joint(self, start: Joint) -> Joint:
        """Return where a line from `start` should end: a lattice point close to the clock's line.

        With the device a few ppm off, the clock's line passes within some thousandths of a frame
        of a lattice point every second; with none, it stays within half a frame of them.
        """
        device, timeline = start
        length = self.segment_s * self._placement.rate
        ahead = np.arange(
            round(length * (1 - JOINT_SEARCH_SHARE / 2)),
            round(length * (1 + JOINT_SEARCH_SHARE / 2)),
            math.ceil(length * JOINT_SEARCH_SHARE / JOINTS_TRIED),
        )
        origin = self.device_at(timeline)
        ratio = (self.device_at(timeline + length) - origin) / length
        most = self._max_bend * ratio * ahead
        bend = np.clip(origin - device, -most, most)
        wanted = device + ratio * ahead + bend
        best = int(np.argmin(np.abs(wanted - np.rint(wanted))))
        return DeviceFrame(round(wanted[best])), TimelineFrame(timeline + int(ahead[best]))


Joint = tuple[DeviceFrame, TimelineFrame]


def line_between(start: Joint, stop: Joint) -> Line:
    """Return the line from one lattice point to another."""
    ratio = (stop[0] - start[0]) / (stop[1] - start[1])
    return Line(start[0], start[1], ratio)


class Run:
    """Consecutive pieces that pass through one resampler.

    Parameters
    ----------
    start
        Where the run starts; earlier frames of its first piece are skipped.
    fold
        Mixes the device's channels into one.
    before
        Reason of the silence up to `start`, which is placed at once: the history may have room for
        what follows only when that silence is committed.
    """

    def __init__(
        self, guide: Guide, placement: Placement, start: Joint, fold: Fold, before: GapReason
    ) -> None:
        self._guide = guide
        self._placement = placement
        self._fold = fold
        placement.silence_to(start[1], before)
        self._start, self._joint = start, guide.next_joint(start)
        self.resampler = Resampler(placement.rate, line_between(start, self._joint))
        self._batch: list[bytes] = []
        self._batch_frames = 0
        self._device_rate = placement.rate * self.resampler.line.ratio
        self._worth_frames = round(BATCH_S * self._device_rate)
        self._max_write_frames = round(MAX_WRITE_S * self._device_rate)

    @property
    def astray_s(self) -> float:
        """Distance between the run's line and the clock's line at present, in seconds."""
        line = self.resampler.line
        timeline = line.timeline_at(self.resampler.fed)
        off = abs(self.resampler.fed - self._guide.device_at(timeline))
        return off / line.ratio / self._placement.rate

    def write(self, piece: Piece) -> None:
        """Take in the next piece."""
        skipped = max(self.resampler.fed + self._batch_frames - piece.first, 0)
        pcm = piece.pcm[skipped * self._fold.channels * 2 :] if skipped else piece.pcm
        self._batch.append(pcm)
        self._batch_frames += piece.frames - skipped
        if self._batch_frames >= self._max_write_frames:
            self._write_batch()

    def go_on(self) -> None:
        """Place what there is, because no more is at hand; little of it is held back."""
        if self._batch_frames >= self._worth_frames:
            self._write_batch()

    def finish(self) -> None:
        """Place all that is still inside."""
        if self._batch:
            self._write_batch()
        self._put(self.resampler.next, self.resampler.finish())

    def _write_batch(self) -> None:
        batch = self._fold.write(b"".join(self._batch))
        self._batch.clear()
        self._batch_frames = 0
        first = 0
        while first < len(batch):
            if self.resampler.fed == self._joint[0]:
                self._turn()
            # No write passes a joint, however far apart they are: a line can be left only there.
            stop = first + min(self._max_write_frames, self._joint[0] - self.resampler.fed)
            self._resample(batch[first:stop])
            first = stop

    def _resample(self, samples: Samples) -> None:
        self._mute_pauses(samples)
        self._put(self.resampler.next, self.resampler.write(samples))

    def _turn(self) -> None:
        """Leave the line at its joint, which has been reached, or stay on it for as long again.

        soxr holds back up to half a second at 4 kHz, so the crossfade into this line may not be
        over yet. At the same distance after the joint as the joint is after the line's start, a
        whole device frame lies on a whole timeline frame again.
        """
        start, joint = self._start, self._joint
        if self.resampler.bending:
            self._start = joint
            self._joint = (
                DeviceFrame(2 * joint[0] - start[0]),
                TimelineFrame(2 * joint[1] - start[1]),
            )
            return
        self._start, self._joint = joint, self._guide.next_joint(joint)
        self.resampler.bend(line_between(self._start, self._joint))

    def _mute_pauses(self, samples: Samples) -> None:
        """Silence what was sampled in a pause: the resampler would spread it over its edges."""
        line, fed = self.resampler.line, self.resampler.fed
        for start, stop in self._placement.paused():
            first = max(math.floor(line.device_at(start)) - fed, 0)
            last = min(math.ceil(line.device_at(stop)) - fed, len(samples))
            samples[first : max(first, last)] = 0

    def _put(self, start: TimelineFrame, samples: Samples) -> None:
        if len(samples):
            self._placement.audio(start, to_int16(samples))


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Round to int16 and saturate; a resampler overshoots full scale."""
    rounded = np.rint(samples)
    return np.clip(rounded, -32768, 32767, out=rounded).astype(np.int16)
