"""The current source of each track: a capture child or a feed, opened as planned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol, runtime_checkable

from edgerec.audio import AudioRefused, Delivery, Played, SourceState, TrackName
from edgerec.capture.child import ChildLimits, ChildSource
from edgerec.capture.devices.device_verdict import Findings
from edgerec.capture.devices.watch import Watched
from edgerec.capture.portaudio import portaudio_command
from edgerec.clock import SECOND_NS, Clock
from edgerec.engine.plan import Plan, SourcePlan
from edgerec.feeds.source import FeedSource
from edgerec.session.timeline import Listener
from edgerec.simulation.kiosk import simulate_command

SIMULATED_RATE_HZ: Final = 48_000
SIMULATED_BLOCK_MS: Final = 100.0
SIMULATED_START_NS: Final = 120 * SECOND_NS
"""Time limit for a simulated device to start: its phrases are computed first, which takes a CPU
second here and 30 times that for two at once on an emulated processor."""


class Source(Protocol):
    """A source that delivers one track; see `capture.child.ChildSource`."""

    @property
    def unhurried(self) -> bool:
        """Whether what it holds can wait for `plan.PACE_MS`: it is stamped, has room, and runs."""
        ...

    @property
    def held_since_ns(self) -> int | None:
        """Arrival of the oldest block that is held back for now; None while none is."""
        ...

    def fileno(self) -> int | None:
        """Return what to select on; None while there is nothing."""
        ...

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what there is, in order, without waiting."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...

    @property
    def state(self) -> SourceState:
        """Current state of the source; replaced as a whole."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A source whose device may be swapped for another, or come late."""

    findings: Findings


OpenSources = Callable[[Mapping[TrackName, SourcePlan], Clock], Mapping[TrackName, Source]]
"""Opens the sources of some tracks as planned, all at one instant."""


def open_sources(plans: Mapping[TrackName, SourcePlan], clock: Clock) -> dict[TrackName, Source]:
    """Return the source of each track; a capture child starts when it is first asked."""
    now_ns = clock.now_ns()  # one for all: simulated devices that share it share a world
    return {
        name: FeedSource(name, clock) if plan.is_feed else open_child(name, plan, now_ns)
        for name, plan in plans.items()
    }


def open_child(track: TrackName, plan: SourcePlan, now_ns: int) -> ChildSource:
    """Return the capture child of a track that has a device."""
    simulated = plan.settings.source == "simulated"
    return ChildSource(
        track,
        capture_command(track, plan, now_ns),
        plan.settings.env,
        now_ns=now_ns,
        patient=plan.patient,
        limits=ChildLimits(start_ns=SIMULATED_START_NS) if simulated else None,
    )


def capture_command(track: TrackName, plan: SourcePlan, now_ns: int) -> list[str]:
    """Return the command that starts the capture child of a track that has a device."""
    settings = plan.settings
    if settings.source == "portaudio":
        return portaudio_command(
            track, settings.device, settings.channels, settings.sample_rate, plan.block_ms
        )
    simulate = settings.simulate
    return simulate_command(
        track,
        seed=simulate.seed,
        start_ns=now_ns,
        sample_rate=settings.sample_rate or SIMULATED_RATE_HZ,
        channels=settings.sent_channels,
        block_ms=plan.block_ms or SIMULATED_BLOCK_MS,
        drift_ppm=simulate.drift_ppm,
        jitter_ms=simulate.jitter_ms,
        loss_per_hour=simulate.loss_per_hour,
        stall_per_hour=simulate.stall_per_hour,
    )


class Sources(Listener):
    """The sources of a plan, which belong to the recorder thread; the rest for any."""

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        open_sources: OpenSources,
        notify: Callable[[Played | AudioRefused], None],
    ) -> None:
        self._clock = clock
        self._open = open_sources
        self._notify = notify
        self.by_track: Mapping[TrackName, Source] = open_sources(plan.sources, clock)
        """All sources by track; replaced as a whole."""
        self.feeds: dict[TrackName, FeedSource] = {}
        """Feeds of the tracks that applications push into."""
        self._note_feeds()

    def stopped(self, at_ns: int) -> None:
        """End what is queued with the session: nothing of it belongs to the next one."""
        for feed in self.feeds.values():
            feed.stop(at_ns)

    def states(self) -> dict[TrackName, SourceState]:
        """Return the state of each source."""
        return {name: source.state for name, source in self.by_track.items()}

    def renew(self, plan: Plan, tracks: Collection[TrackName]) -> Mapping[TrackName, Source | None]:
        """Return these tracks' sources as they are planned now, to take the place of those before.

        None: the track has none any more.
        """
        planned = {name: source for name, source in plan.sources.items() if name in tracks}
        opened = self._open(planned, self._clock)
        others = {name: source for name, source in self.by_track.items() if name not in tracks}
        self.by_track = {**others, **opened}
        self._note_feeds()
        return {name: opened.get(name) for name in tracks}

    def watched(self, plan: Plan) -> dict[TrackName, Watched]:
        """Return the tracks whose device may be swapped for another, or come late."""
        return {
            name: (planned.settings.device, source.findings)
            for name, planned in plan.sources.items()
            if planned.settings.source == "portaudio"
            and isinstance(source := self.by_track[name], Watchable)
        }

    def _note_feeds(self) -> None:
        now = {n: source for n, source in self.by_track.items() if isinstance(source, FeedSource)}
        for name in self.feeds.keys() - now.keys():
            del self.feeds[name]
        for feed in now.values():
            feed.notify = self._notify
        self.feeds.update(now)
