"""Folds a device's channels into one, and resamples its frames to timeline frames.

A run (frames without a hole) lies on the timeline along a chain of straight lines, which track the
device clock indefinitely. Their joints are lattice points: a whole device frame on a whole timeline
frame. Each line is one fixed-rate soxr stream that starts exactly on its joint, so no fraction of a
frame is ever rounded away and no error accumulates. The old stream keeps running beside the new one
until that has warmed up, then they are crossfaded; by then they are a few nanoseconds apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from edgerec.audio import DeviceFrame, TimelineFrame

Samples = NDArray[np.float32]

QUALITY: Final = "HQ"  # 135 dB tone SNR; VHQ costs double, and 16 bits hold 98 dB
WARM_UP_PERIODS: Final = 160  # of the lower rate; HQ's start-up transient lasts 66 of them
FADE_PERIODS: Final = 160


@dataclass(frozen=True, slots=True)
class Line:
    """A straight segment of a run's mapping to the timeline, through one lattice point."""

    device: DeviceFrame
    timeline: TimelineFrame
    ratio: float
    """Number of device frames per timeline frame."""

    def device_at(self, timeline: float) -> float:
        """Return the device position on a timeline position."""
        return self.device + (timeline - self.timeline) * self.ratio

    def timeline_at(self, device: float) -> float:
        """Return the timeline position of a device position."""
        return self.timeline + (device - self.device) / self.ratio


class Resampler:
    """One run of one device, from its first frame to `finish`.

    Parameters
    ----------
    rate
        Sampling rate of the timeline, in Hz.
    line
        Start and slope of the run's first segment; the first sample written is `line.device`.
    """

    def __init__(self, rate: int, line: Line) -> None:
        self._rate = rate
        self.line = line
        self.fed: DeviceFrame = line.device
        """The device frame after the last one written."""
        self.next: TimelineFrame = line.timeline
        """The timeline frame of the next sample to be returned."""
        self._stream = _open_stream(rate, line)
        self._bend: _Bend | None = None

    @property
    def bending(self) -> bool:
        """Whether a bend is planned or under way; one at a time."""
        return self._bend is not None

    def bend(self, line: Line) -> None:
        """Continue along `line` from its lattice point, which lies on this line, ahead of `fed`."""
        if self._bend is not None or line.device < self.fed:
            raise ValueError(f"cannot bend at device frame {line.device}, fed up to {self.fed}")
        lower_rate = min(self._rate, self._rate * line.ratio)
        period = self._rate / lower_rate
        warm = round(WARM_UP_PERIODS * period)
        self._bend = _Bend(
            line=line, fade_start=line.timeline + warm, fade_frames=round(FADE_PERIODS * period)
        )

    def write(self, samples: Samples) -> Samples:
        """Take in the next device frames; return timeline frames from `next` (before) on."""
        old = self._stream(samples, False)
        start, self.fed = self.fed, DeviceFrame(self.fed + len(samples))
        if self._bend is None or self.fed <= self._bend.line.device:
            return self._emit(old)
        bend = self._bend
        if bend.stream is None:
            bend.stream = _open_stream(self._rate, bend.line)
            samples = samples[bend.line.device - start :]
        bend.old = np.concatenate((bend.old, old))
        bend.new = np.concatenate((bend.new, bend.stream(samples, False)))
        return self._emit(self._cross(bend))

    def finish(self) -> Samples:
        """Return what is still inside; the run is over."""
        old = self._stream(_no_samples(), True)
        if self._bend is not None:
            old = np.concatenate((self._bend.old, old))
        return self._emit(old)

    def _emit(self, samples: Samples) -> Samples:
        self.next = TimelineFrame(self.next + len(samples))
        return samples

    def _cross(self, bend: _Bend) -> Samples:
        """Hand over from the old stream to the new one, once both reach past the fade."""
        before = max(bend.fade_start - self.next, 0)
        skipped = self.next + before - bend.line.timeline
        if len(bend.old) < before + bend.fade_frames or len(bend.new) < skipped + bend.fade_frames:
            sure, bend.old = bend.old[:before], bend.old[before:]
            return sure
        fade = np.linspace(0, 1, bend.fade_frames, endpoint=False, dtype=np.float32)
        old = bend.old[before : before + bend.fade_frames]
        new = bend.new[skipped : skipped + bend.fade_frames]
        assert bend.stream is not None
        self._stream, self.line, self._bend = bend.stream, bend.line, None
        return np.concatenate(
            (bend.old[:before], old + (new - old) * fade, bend.new[skipped + bend.fade_frames :])
        )


def _no_samples() -> Samples:
    return np.empty(0, np.float32)


@dataclass(slots=True)
class _Bend:
    """A new line, planned (no stream yet) or running beside the old one."""

    line: Line
    fade_start: int
    fade_frames: int
    stream: Callable[[Samples, bool], Samples] | None = None
    old: Samples = field(default_factory=_no_samples)
    new: Samples = field(default_factory=_no_samples)


def _open_stream(rate: int, line: Line) -> Callable[[Samples, bool], Samples]:
    stream = soxr.ResampleStream(line.ratio * rate, rate, 1, dtype="float32", quality=QUALITY)
    resample: Callable[[Samples, bool], Samples] = stream.resample_chunk
    return resample


SHARE: Final = 16  # one frame in 16 is measured: next to no cost
REMEMBERED: Final = 12_000  # frames measured, 4 s at 48 kHz: what is older counts for half
AUDIBLE_RMS: Final = 30.0  # -61 dBFS, as the mean of the channels: below, noise says nothing


class Fold:
    """One stream's channels into their mean; notices channels that cancel each other.

    A microphone that is wired between two channels (left is minus right) is silence in their mean,
    which looks like a quiet room from then on. Here both can still be seen. For one thread.

    Parameters
    ----------
    channels
        Number of channels of the stream's interleaved int16 PCM.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._weights = np.full(channels, 1 / channels, dtype=np.float32)
        self._apart = self._folded = self._frames = 0.0

    @property
    def gain_db(self) -> float | None:
        """Level of the mean relative to that of unrelated channels; None: too quiet to measure.

        0 for unrelated channels, `10 log10(channels)` for equal ones, and far below 0 for channels
        that cancel.
        """
        if self.channels == 1 or self._apart <= AUDIBLE_RMS**2 * self._frames:
            return None
        ratio = self.channels * self._folded / self._apart
        return round(10 * math.log10(max(ratio, 1e-6)), 1)

    def write(self, pcm: bytes) -> Samples:
        """Return interleaved int16 PCM as one channel, still at int16 scale."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        if self.channels == 1:
            return samples
        frames = samples.reshape(-1, self.channels)
        folded: Samples = frames @ self._weights
        # Adjacent frames: every sixteenth frame of a tone may fall on its zero crossings.
        measured = len(folded) // SHARE + 1
        self._measure(frames[:measured].ravel(), folded[:measured])
        return folded

    def _measure(self, apart: Samples, folded: Samples) -> None:
        keep = 0.5 ** (len(folded) / REMEMBERED)
        self._frames = keep * self._frames + len(folded)
        self._apart = keep * self._apart + float(apart @ apart) / self.channels
        self._folded = keep * self._folded + float(folded @ folded)
