"""Builds all that an engine consists of, on one page: sources -> synchronizer -> history -> files.

    capture children ==pipes==> recorder thread ==history==> writer thread ==> ready/
    applications ==sockets==^                          +===> turn thread

The recorder thread waits for pipes and sockets only, the writer thread for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edgerec.capture.devices.watch import DeviceWatch
from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.engine import build
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.housekeeping import FILE as DRIFT_FILE
from edgerec.engine.housekeeping import DriftMemory, Housekeeping, SpareMemory
from edgerec.engine.recovery import RecoveryLoop
from edgerec.engine.sessions import Sessions
from edgerec.engine.sources import Sources
from edgerec.engine.turn_build import build_turn_loop
from edgerec.engine.turn_loop import TurnLoop
from edgerec.engine.writer_loop import WriterLoop
from edgerec.health.echo_history import EchoHistory, observe
from edgerec.health.monitor import Monitor
from edgerec.health.reports import HookCounts
from edgerec.health.signal_quality import SignalQuality
from edgerec.health.status import LastPublished
from edgerec.session.events import EventBus
from edgerec.session.listener import Listener, LiveReaders
from edgerec.session.requests import SessionRequests
from edgerec.session.threads import Threads
from edgerec.session.timeline import CurrentSession
from edgerec.store.publish import FilePublished
from edgerec.store.retention.cleanup import Cleanup
from edgerec.store.root import StorageRoot


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


class Publications:
    """Reports every published file, whichever thread has published it, and remembers the last."""

    def __init__(self, clock: Clock, around: Surroundings) -> None:
        self._clock = clock
        self._around = around
        self._reporting = threading.Lock()  # two threads publish, and files are reported one by one
        self.last: LastPublished | None = None
        """The file that was published last."""

    def report(self, published: FilePublished) -> None:
        """Report a file; for the writer thread and that of recovery."""
        with self._reporting:
            self.last = LastPublished.of(published, self._clock.now_ns())
            self._around.on_published(published)
            self._around.events.publish(published)


@dataclass(slots=True)
class Current:
    """The configuration that is recorded by; replaced as a whole when another one applies."""

    config: Config


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that is built once for an engine; `build_parts` says what it is for."""

    current: Current
    publications: Publications
    requests: SessionRequests
    sources: Sources
    devices: DeviceWatch
    drift: DriftMemory
    turns: TurnLoop | None
    """None: nobody wants turns."""
    echo: EchoHistory
    cleanup: Cleanup
    house: Housekeeping
    recovery: RecoveryLoop
    writer: WriterLoop
    quality: SignalQuality
    monitor: Monitor
    sessions: Sessions
    capture: CaptureLoop

    def close(self, now_ns: int) -> None:
        """End what serves others, and remember drift and echo; once nothing more is recorded."""
        self.capture.close()
        self.devices.close()
        self.monitor.close()
        self.house.finish("remembering drift", self.drift.save, now_ns)
        self.house.finish("remembering echo", self.echo.save, now_ns)


def build_parts(
    config: Config,
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
    current, session = Current(config), CurrentSession()
    publications = Publications(clock, around)
    make_thread = around.threads.make

    # Where audio comes from.
    requests = SessionRequests(clock, started=config.recording.auto_start)
    sources = Sources(config, clock)
    devices = DeviceWatch(
        build.watched_devices(config, sources.children), clock, make_thread=make_thread
    )
    drift = DriftMemory(root.state / DRIFT_FILE)
    synchronizer = build.build_synchronizer(config, drift.drift_ppm)

    # What becomes of it: turns, files, and what is known of them.
    turns = build_turn_loop(lambda: current.config, clock)
    echo = EchoHistory(root.state, clock)
    cleanup = build.build_cleanup(config, root, clock)
    house = Housekeeping(
        {
            "remembering drift": drift.save_now_and_then,
            "remembering echo": lambda now_ns: echo.step(
                now_ns, lambda: observe(current.config, session.timeline, sources.states())
            ),
            "retention": cleanup.step,
            "giving memory back": SpareMemory().step,
        }
    )
    recovery = RecoveryLoop(root, clock, publications.report)
    writer = WriterLoop(
        clock,
        open_recording=lambda timeline: build.open_recording(
            current.config,
            root,
            timeline,
            publications.report,
            utc_wait_s=current.config.storage.utc_wait_s,
            publishes=False,
        ),
        sync_s=config.storage.sync_seconds,
        housekeeping=house.step,
        publish=around.events.publish,
        wake_recovery=recovery.wake,
    )
    quality = SignalQuality(build.continuous_tracks(config))
    monitor = Monitor(lambda: session.timeline, quality, around.events, make_thread=make_thread)

    # The recorder thread, which calls the listeners in this order: turns before files of them.
    listeners: list[Listener] = [writer, around.live, monitor]
    if turns is not None:
        listeners.insert(0, turns)
    sessions = Sessions(
        synchronizer,
        requests,
        clock,
        listeners,
        length_s=length_s,
        choose_rate=lambda headers: build.recording_rate(current.config, headers),
        build_history=lambda rate: build.build_history(current.config, rate),
        current=session,
    )
    capture = CaptureLoop(
        sources.by_track,
        synchronizer,
        sessions,
        requests,
        clock,
        listeners,
        publish=around.events.publish,
        ends_with_session=length_s is not None,
        pace_ms=build.pace_ms(config),
    )
    return Parts(
        current,
        publications,
        requests,
        sources,
        devices,
        drift,
        turns,
        echo,
        cleanup,
        house,
        recovery,
        writer,
        quality,
        monitor,
        sessions,
        capture,
    )
