"""Faults of a virtual device and their times, given explicitly or random from a seed."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.simulation.conversation import generator

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
