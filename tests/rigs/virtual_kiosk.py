"""A virtual kiosk through the synchronizer, as a recorder does it, in simulated time."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

from edgerec.audio import TRACKS, Span, TimelineFrame, TrackName, TrackReport
from edgerec.simulation.conversation import World
from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames

RATE = 16_000
LATE_S = 0.8
START_NS = 1_000_000_000
TICK_NS = 100_000_000


@dataclass(frozen=True)
class Step:
    """What one advance of the synchronizer gave to its readers."""

    now_ns: int
    epoch_ns: int
    span: Span
    reports: Mapping[TrackName, TrackReport]


def steps(
    user: DeviceModel,
    bot: DeviceModel,
    seconds: float,
    *,
    world: World,
    plans: Mapping[TrackName, TrackPlan] | None = None,
    drift_memory: MutableMapping[str, float] | None = None,
    seed: int = 1,
    late_s: float = LATE_S,
) -> Iterator[Step]:
    """Deliver as devices do, advance at every tick, read what is committed."""
    kiosk = VirtualKiosk(user, bot, seed=seed, world=world, start_ns=START_NS)
    plans = plans or dict.fromkeys(TRACKS, TrackPlan())
    memory = {} if drift_memory is None else drift_memory
    synchronizer = Synchronizer(plans, late_s=late_s, drift_memory=memory)
    epoch_ns, now_ns, tick_ns, position = None, START_NS, 0, 0

    def step(stop: int) -> Step:
        nonlocal position
        span = synchronizer.history.read(TimelineFrame(position), stop - position)
        position = stop
        return Step(now_ns, epoch_ns, span, synchronizer.report())

    for track, delivery in kiosk.deliveries(seconds):
        now_ns = getattr(delivery, "arrived_ns", now_ns)
        if epoch_ns is not None and now_ns >= tick_ns:
            more = True
            while more:  # first of all what the time that has passed leaves silent
                more = synchronizer.advance(now_ns)
                yield step(synchronizer.history.committed)
            tick_ns = now_ns + TICK_NS
        if track in plans:
            synchronizer.deliver(track, delivery)
        settled = synchronizer.first_instants_ns(settled=True)
        if epoch_ns is None and len(settled) == len(plans):
            epoch_ns = round(max(settled.values()))
            synchronizer.begin(epoch_ns, RATE, History(history_frames(RATE, keep_s=5.0)))
    assert epoch_ns is not None
    yield step(synchronizer.finish())
