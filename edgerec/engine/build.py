"""Builds all that an engine consists of, on one page: sources -> synchronizer -> history -> files.

    capture children ==pipes==> recorder thread ==history==> writer thread ==> ready/
    applications ==sockets==^                          +===> turn thread

The recorder thread waits for pipes and sockets only, the writer thread for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edgerec.audio import AudioRefused, Played
from edgerec.capture.devices.watch import DeviceWatch
from edgerec.clock import Clock
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.housekeeping import FILE as DRIFT_FILE
from edgerec.engine.housekeeping import SAVE_NS, SPARE_MEMORY, Chore, DriftMemory, Housekeeping
from edgerec.engine.late_watch import LateWatch
from edgerec.engine.plan import Current, Plan
from edgerec.engine.recovery import RecoveryLoop
from edgerec.engine.session_turns import build_session_turns
from edgerec.engine.sessions import Sessions
from edgerec.engine.sources import OpenSources, Sources, open_sources
from edgerec.engine.turn_loop import TurnLoop
from edgerec.engine.writer_loop import WriterLoop
from edgerec.health.echo_history import EchoHistory, observe
from edgerec.health.monitor import Monitor
from edgerec.health.signal_quality import SignalQuality
from edgerec.health.status import HookCounts
from edgerec.health.verdict import LastPublished
from edgerec.session.events import EventBus
from edgerec.session.requests import SessionRequests
from edgerec.session.threads import Threads
from edgerec.session.timeline import Listener, LiveReaders, SessionTimeline
from edgerec.stamps import stamp_now
from edgerec.store.publish import FilePublished
from edgerec.store.retention.cleanup import Cleanup
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recording import Recording
from edgerec.sync.synchronizer import Synchronizer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Parts made before an engine, which hear it from its first event on."""

    events: EventBus = field(default_factory=EventBus)
    threads: Threads = field(default_factory=Threads)
    """Makes every thread: one that fails ends the engine."""
    live: LiveReaders = field(default_factory=LiveReaders)
    """Those who read live audio."""
    hook_counts: Callable[[], HookCounts] = HookCounts
    """What has become of hooks, for the status; for any thread."""
    on_published: Callable[[FilePublished], None] = lambda published: None
    """Called with every file before its event; by one thread at a time."""
    open_sources: OpenSources = open_sources
    """Opens the tracks' sources, at first and after a reload."""


class RootFiles:
    """The files of a storage root: opened for sessions, recovered, and reported when published."""

    def __init__(self, root: StorageRoot, clock: Clock, around: Surroundings) -> None:
        self._root = root
        self._clock = clock
        self._around = around
        self._reporting = threading.Lock()  # two threads publish, and files are reported one by one
        self.recovery = RecoveryLoop(root, clock, self.report)
        """Publishes what crashes have left, and sessions that are left to it."""
        self.last: LastPublished | None = None
        """The file that was published last."""

    def open(self, plan: Plan, timeline: SessionTimeline) -> Recording:
        """Open the files of a session under the next number; waits for the disk."""
        return Recording(
            self._root,
            self._root.open_session(plan.config.kiosk),
            plan.form(timeline.rate),
            timeline.stamp_of,
            self.report,
            publishes=False,
        )

    def recover(self) -> None:
        """Have recovery try again: it can do more than before."""
        self.recovery.wake()

    def report(self, published: FilePublished) -> None:
        """Report a file; for the writer thread and that of recovery."""
        with self._reporting:
            self.last = LastPublished.of(published, self._clock.now_ns())
            self._around.on_published(published)
            self._around.events.publish(published)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that is built once for an engine; `build_parts` says what it is for."""

    current: Current
    requests: SessionRequests
    sources: Sources
    devices: DeviceWatch
    turns: TurnLoop | None
    """None: nobody wants turns."""
    echo: EchoHistory
    cleanup: Cleanup
    house: Housekeeping
    files: RootFiles
    writer: WriterLoop
    quality: SignalQuality
    monitor: Monitor
    sessions: Sessions
    capture: CaptureLoop

    def close(self) -> None:
        """End what serves others, and do the last chores; once nothing more is recorded."""
        self.capture.close()
        self.devices.close()
        self.monitor.close()
        self.house.finish()


def build_parts(
    plan: Plan,
    root: StorageRoot,
    clock: Clock,
    around: Surroundings,
    *,
    length_s: float | None,
) -> Parts:
    """Build the parts of an engine, each from those above it; nothing runs yet.

    Parameters
    ----------
    root
        Held for as long as the parts are used.
    length_s
        The first session ends by itself after this long, and the capture loop with it.
    """
    current = Current(plan)
    make_thread, publish = around.threads.make, around.events.publish

    # Where audio comes from.
    requests = SessionRequests(clock, started=plan.config.recording.auto_start)

    def notify(event: Played | AudioRefused) -> None:
        publish(event)
        if (
            isinstance(event, Played)
            and event.dropped
            and turns is not None
            and sessions.state != "ending"
        ):
            turns.cut(event)

    sources = Sources(plan, clock, around.open_sources, notify)
    devices = DeviceWatch(sources.watched(plan), clock, make_thread=make_thread)
    drift = DriftMemory(root.state / DRIFT_FILE)
    synchronizer = Synchronizer(plan.tracks, late_s=plan.late_s, drift_memory=drift.drift_ppm)

    # What becomes of it: turns, files, and what is known of them.
    turns = None
    if plan.turns.wanted:
        turns = TurnLoop(
            clock,
            lambda began: build_session_turns(current.plan.turns, began),
            lambda: writer.wake(),
        )
    echo = EchoHistory(root.state, clock)
    cleanup = Cleanup(
        root, plan.quota, bytes_per_s=plan.bytes_per_s, stamp_now=lambda: stamp_now(clock)
    )

    def remember_echo(now_ns: int) -> None:
        config = current.plan.config
        echo.step(now_ns, lambda: observe(config, current.timeline, sources.states()))

    house = Housekeeping(
        [
            Chore("remembering drift", lambda now_ns: drift.save(), SAVE_NS, drift.save),
            Chore("remembering echo", remember_echo, last=echo.save),
            Chore("retention", cleanup.step),
            SPARE_MEMORY,
        ]
    )
    files = RootFiles(root, clock, around)
    writer = WriterLoop(current, files, clock, house, publish)
    quality = SignalQuality(plan.continuous)
    monitor = Monitor(lambda: current.timeline, quality, around.events, make_thread=make_thread)

    # The recorder thread, which calls the listeners in this order: turns before files of them.
    listeners: list[Listener] = [writer, around.live, monitor, sources, LateWatch(publish)]
    if turns is not None:
        listeners.insert(0, turns)
    sessions = Sessions(synchronizer, requests, clock, listeners, current, length_s=length_s)
    capture = CaptureLoop(sources.by_track, sessions, publish=publish, pace_ms=plan.pace_ms)
    return Parts(
        current,
        requests,
        sources,
        devices,
        turns,
        echo,
        cleanup,
        house,
        files,
        writer,
        quality,
        monitor,
        sessions,
        capture,
    )
