"""A virtual device that drifts, is late, loses frames and goes away, and tells the truth about it.

Its quartz drifts and wanders, its blocks arrive late and never early, and it suffers the faults it
is given, all of it decided by a seed. Each delivery comes with the truth about it. It never reads a
clock.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgerec.audio import (
    Block,
    BlockFlags,
    Delivery,
    DeviceFrame,
    GapReason,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.simulation.conversation import Sound, generator

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing is delivered for a while; then everything comes at once."""

    at_s: float
    """Time of the event, in seconds of true time since the world began."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Loss:
    """The device loses frames, from the beginning of the block that this instant falls in."""

    at_s: float
    frames: int
    counted: bool = True
    """Whether `first_frame` jumps over them. The driver reports an overflow either way."""


@dataclass(frozen=True, slots=True)
class Absence:
    """The device goes away, with the block it is filling, and comes back as a new stream."""

    at_s: float
    seconds: float
    sample_rate: int | None = None
    """Sampling rate after it comes back, in Hz; None: unchanged."""


Fault = Stall | Loss | Absence


@dataclass(frozen=True, slots=True)
class Faults:
    """Average rate of random faults of each kind, and how bad they are at most."""

    spike_per_hour: float = 0.0
    """Rate of short stalls, as a busy machine causes them."""
    spike_s: float = 0.3
    stall_per_hour: float = 0.0
    stall_s: float = 1.0
    """Longest stall; with a block under 1.2 s, after which a real device is taken for dead."""
    loss_per_hour: float = 0.0
    loss_s: float = 0.05
    losses_counted: bool = True
    absence_per_hour: float = 0.0
    absence_s: float = 10.0


NO_FAULTS: Final = Faults()


def schedule(
    faults: Faults, events: Iterable[Fault], *, sample_rate: int, seed: int, track: TrackName
) -> Iterator[Fault]:
    """Merge what goes wrong on purpose with what goes wrong at random, in order of time."""

    def stall(seconds: float) -> Callable[[float, float], Stall]:
        return lambda at_s, share: Stall(at_s, share * seconds)

    def loss(at_s: float, share: float) -> Loss:
        return Loss(at_s, math.ceil(share * faults.loss_s * sample_rate), faults.losses_counted)

    def absence(at_s: float, share: float) -> Absence:
        return Absence(at_s, share * faults.absence_s)

    def at_random(
        kind: str, per_hour: float, event: Callable[[float, float], Fault]
    ) -> Iterator[Fault]:
        rng = generator(seed, kind, track)
        at_s = 0.0
        while per_hour > 0:
            at_s += rng.exponential(_HOUR_S / per_hour)
            yield event(at_s, rng.random())

    return heapq.merge(
        sorted(events, key=_at_s),
        at_random("spike", faults.spike_per_hour, stall(faults.spike_s)),
        at_random("stall", faults.stall_per_hour, stall(faults.stall_s)),
        at_random("loss", faults.loss_per_hour, loss),
        at_random("absence", faults.absence_per_hour, absence),
        key=_at_s,
    )


def _at_s(event: Fault) -> float:
    return event.at_s


_FULL_SCALE: Final = 32767


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """Everything that distinguishes a virtual device from a perfect one."""

    sample_rate: int = 48_000
    channels: int = 1
    block_ms: float = 100.0
    drift_ppm: float = 0.0
    """Rate error in ppm; positive is fast, as in the sidecars."""
    wander_ppm: float = 0.0
    """Amplitude of the slow change that temperature brings, around `drift_ppm`."""
    wander_period_s: float = 1200.0
    starts_s: float = 0.0
    """Time at which it is opened, in seconds of true time since the world began."""
    latency_ms: float = 5.0
    """Constant delay between a frame's sampling and its earliest delivery; no stamp shows it."""
    jitter_ms: float = 0.0
    """Mean of the additional, exponentially distributed lateness."""
    faults: Faults = NO_FAULTS
    events: tuple[Fault, ...] = ()
    """Explicit faults, in addition to the random ones."""

    def __post_init__(self) -> None:
        """Refuse values that no device has."""
        if not 1 <= self.block_ms <= 2000:
            raise ValueError(f"block_ms is {self.block_ms}: a block lasts 1 to 2000 ms")

    def true_s(self, quartz_s: float) -> float:
        """Return how many true seconds pass while the device's own clock counts `quartz_s`.

        Both count from its first opening; the wander has its zero there.
        """
        turn = 2 * math.pi / self.wander_period_s
        wander_s = 1e-6 * self.wander_ppm * (1 - math.cos(turn * quartz_s)) / turn
        return quartz_s / (1 + 1e-6 * self.drift_ppm) - wander_s


@dataclass(frozen=True, slots=True)
class Handover:
    """One delivery, its time, and the truth about it, which no recorder can see."""

    track: TrackName
    at_ns: int
    """Time of the delivery on CLOCK_MONOTONIC_RAW; a block's `arrived_ns`."""
    delivery: Delivery
    sampled_ns: int
    """Instant at which the first frame of the block, or of the next one, was really sampled."""
    lost_frames: int = 0
    """Number of frames lost directly before this block, counted or not."""


class VirtualDevice:
    """One device from its opening on; `run` may be called once.

    Parameters
    ----------
    sound
        The sound that reaches the device.
    start_ns
        The world's beginning on CLOCK_MONOTONIC_RAW.
    start_utc_ns, boot_id
        The same instant on the wall clock, and the boot, for the headers; 0 and "": unknown.
    """

    def __init__(
        self,
        track: TrackName,
        model: DeviceModel,
        sound: Sound,
        *,
        seed: int,
        start_ns: int,
        start_utc_ns: int = 0,
        boot_id: str = "",
    ) -> None:
        self._track = track
        self._model = model
        self._sound = sound
        self._start_ns = start_ns
        self._start_utc_ns = start_utc_ns
        self._boot_id = boot_id
        self._events = schedule(
            model.faults, model.events, sample_rate=model.sample_rate, seed=seed, track=track
        )
        self._event = next(self._events, None)
        self._lateness = generator(seed, "lateness", track)
        self._rate = model.sample_rate
        self._opened_s = 0.0  # on the quartz, which counts from the first opening
        self._position = 0  # in frames sampled since then, lost ones included
        self._uncounted = 0  # of those, what `first_frame` doesn't know of
        self._lost = 0  # directly before the next block
        self._new_stream = True
        self._stalled_until_ns = 0
        self._last_ns = start_ns

    def true_ns(self, frame: DeviceFrame) -> int:
        """Return the true sampling instant of a frame after the last loss in the open stream."""
        return self._ns(self._frame_s(frame + self._uncounted))

    def run(self, seconds: float = math.inf) -> Iterator[Handover]:
        """Deliver every block that begins within the world's first `seconds`, in order.

        A fault that begins during an earlier loss or absence has no effect.
        """
        while (first_s := self._frame_s(self._position)) < seconds:
            frames = round(self._model.block_ms * self._rate / 1000)
            stop_s = self._frame_s(self._position + frames)
            event = self._event
            if event is not None and event.at_s < stop_s:
                self._event = next(self._events, None)
                if isinstance(event, Stall):
                    until_ns = self._ns(event.at_s + event.seconds)
                    self._stalled_until_ns = max(self._stalled_until_ns, until_ns)
                elif isinstance(event, Loss) and event.at_s >= first_s:
                    self._lose(event)
                elif isinstance(event, Absence) and event.at_s >= first_s:
                    yield self._go_away(event, first_s)
            else:
                yield from self._hand_over(frames, first_s, stop_s)

    def _lose(self, loss: Loss) -> None:
        self._position += loss.frames
        self._lost += loss.frames
        if not loss.counted:
            self._uncounted += loss.frames

    def _go_away(self, absence: Absence, first_s: float) -> Handover:
        self._opened_s += self._position / self._rate + absence.at_s - first_s + absence.seconds
        self._rate = absence.sample_rate or self._rate
        self._position = self._uncounted = self._lost = 0
        self._new_stream = True
        self._last_ns = max(self._last_ns, self._ns(absence.at_s))
        ended = StreamEnded(GapReason.ABSENT, f"simulated absence of {absence.seconds:g} s")
        return Handover(self._track, self._last_ns, ended, self._ns(self._frame_s(0)))

    def _hand_over(self, frames: int, first_s: float, stop_s: float) -> Iterator[Handover]:
        late_ms = self._model.latency_ms + self._lateness.exponential(self._model.jitter_ms)
        due_ns = self._ns(stop_s) + round(late_ms * 1e6)
        self._last_ns = at_ns = max(due_ns, self._stalled_until_ns, self._last_ns)
        sampled_ns = self._ns(first_s)
        if self._new_stream:
            yield Handover(self._track, at_ns, self._header(at_ns), sampled_ns)
        flags = BlockFlags(0)
        if self._new_stream:
            flags |= BlockFlags.NEW_STREAM
        if self._lost:
            flags |= BlockFlags.OVERFLOW
        first_frame = DeviceFrame(self._position - self._uncounted)
        pcm = self._pcm(first_s, (stop_s - first_s) / frames, frames)
        block = Block(first_frame, frames, at_ns, adc_ns=0, flags=flags, pcm=pcm)
        yield Handover(self._track, at_ns, block, sampled_ns, self._lost)
        self._position += frames
        self._lost = 0
        self._new_stream = False

    def _header(self, at_ns: int) -> StreamHeader:
        return StreamHeader(
            sample_rate=self._rate,
            channels=self._model.channels,
            track=self._track,
            device=f"simulated:{self._track}",
            clock="monotonic_raw",
            utc_ns=self._start_utc_ns + at_ns - self._start_ns if self._start_utc_ns else 0,
            boot_id=self._boot_id,
        )

    def _pcm(self, first_s: float, step_s: float, frames: int) -> bytes:
        heard = self._sound(first_s, step_s, frames)
        if heard is None:
            return bytes(frames * self._model.channels * 2)
        samples = np.clip(np.rint(heard * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype("<i2")
        return samples.repeat(self._model.channels).tobytes()

    def _frame_s(self, position: int) -> float:
        true_s = self._model.true_s(self._opened_s + position / self._rate)
        return self._model.starts_s + true_s

    def _ns(self, true_s: float) -> int:
        return self._start_ns + round(true_s * 1e9)
