"""What a recorder is made of, on one page: sources -> synchronizer -> history -> files.

    capture children ==pipes==> recorder thread ==history ring==> writer thread ==> ready/
    applications ==sockets==^

The recorder thread waits for pipes and sockets only, the writer thread for the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from edgerec.capture.devices.watch import DeviceWatch
from edgerec.clock import Clock
from edgerec.config import Changes, Config
from edgerec.engine import build
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.drift_memory import FILE as DRIFT_FILE
from edgerec.engine.drift_memory import DriftMemory
from edgerec.engine.housekeeping import Housekeeping
from edgerec.engine.recovery import RecoveryLoop
from edgerec.engine.sessions import Sessions
from edgerec.engine.sources import Sources
from edgerec.engine.spare_memory import SpareMemory
from edgerec.engine.turn_build import build_turn_loop
from edgerec.engine.writer_loop import WriterLoop
from edgerec.health.echo_history import EchoHistory, observe
from edgerec.health.monitor import Monitor
from edgerec.health.signal_quality import SignalQuality
from edgerec.service.hooks import Hooks
from edgerec.service.taps import Taps
from edgerec.session.backlog import Backlog
from edgerec.session.events import Announcer, Event, FilePublished, Level, StateChanged
from edgerec.session.requests import Wishes
from edgerec.session.threads import Threads
from edgerec.session.timeline import SessionTimeline
from edgerec.store.publish import Published
from edgerec.store.root import StorageRoot

MAX_UNWRITTEN: Final = 2  # sessions with a history each: one that ends while the next one begins


class Pipeline:
    """The parts of a recorder, and the threads that run them from `start` until `capture.stop`.

    Parameters
    ----------
    root
        Held for as long as the threads run.
    length_s
        The first session ends by itself after this long, and the threads with it.
    on_published
        Called with every file, before anybody else is told of it; in the writer thread or that of
        recovery, but never in both at a time.
    on_change
        Called whenever something has changed that may be waited for, in the thread that changed it.
    """

    def __init__(
        self,
        config: Config,
        root: StorageRoot,
        clock: Clock,
        *,
        length_s: float | None,
        announcer: Announcer,
        threads: Threads,
        on_published: Callable[[Published], None],
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        """What is recorded by; replaced as a whole by `apply`."""
        self.ended = threading.Event()
        """Nothing more is captured, written or taken in; the threads are about to end."""
        self._root = root
        self._clock = clock
        self._announcer = announcer
        self._make_thread = threads.make
        self._telling = threading.Lock()  # two threads publish, and each file is told of at once
        self._on_published = on_published
        self._on_change = on_change
        self._build_capture(length_s)
        self._build_writing()
        self._build_watch()

    def _build_capture(self, length_s: float | None) -> None:
        """Build what is in the recorder thread: sources -> synchronizer -> history."""
        self.wishes = Wishes(self._clock, started=self.config.recording.auto_start)
        self.sources = Sources(self.config, self._clock)
        self.taps = Taps(self._clock, make_thread=self._make_thread)
        self._drift = DriftMemory(self._root.state / DRIFT_FILE)
        synchronizer = build.build_synchronizer(self.config, self._drift.drift_ppm)
        self.sessions = Sessions(
            synchronizer,
            self.wishes,
            self._clock,
            length_s=length_s,
            choose_rate=lambda headers: build.recording_rate(self.config, headers),
            build_history=lambda rate: build.build_history(self.config, rate),
            on_session=self._begin_session,
            may_begin=lambda: self.writer.unwritten < MAX_UNWRITTEN,
        )
        self.capture = CaptureLoop(
            self.sources.by_track,
            synchronizer,
            self.sessions,
            self.wishes,
            self._clock,
            announce=self._tell,
            ends_with_session=length_s is not None,
            on_delivery=self.taps.take,
            on_committed=self._note_committed,
            is_heard=self._is_heard,
            pace_ms=build.pace_ms(self.config),
        )

    def _build_writing(self) -> None:
        """Build what makes files of the history: turn thread and writer thread, and hooks."""
        self.turns = build_turn_loop(lambda: self.config, self._clock)
        self.cleanup = build.build_cleanup(self.config, self._root, self._clock)
        self._spare_memory = SpareMemory()
        self.echo = EchoHistory(self._root.state, self._clock)
        self.house = Housekeeping(
            {
                "remembering drift": self._drift.save_now_and_then,
                "remembering echo": self._observe_echo,
                "retention": self.cleanup.step,
                "giving memory back": self._spare_memory.step,
            }
        )
        self.recovery = RecoveryLoop(self._root, self._clock, self._note_published)
        self.writer = WriterLoop(
            self._clock,
            open_recording=lambda timeline: build.open_recording(
                self.config,
                self._root,
                timeline,
                self._note_published,
                utc_wait_s=self.config.storage.utc_wait_s,
                publishes=False,
            ),
            sync_s=self.config.storage.sync_seconds,
            housekeeping=self.house.step,
            announce=self._tell,
            wake_recovery=self.recovery.wake,
        )
        self.hooks = Hooks(self.config.hooks, self._clock, make_thread=self._make_thread)
        self._threads = [
            self._make_thread(target=self._run_capture, name="recorder"),
            self._make_thread(target=self._run_writer, name="writer"),
            self._make_thread(target=self.recovery.run, name="recovery"),
        ]
        if self.turns is not None:
            self._threads.append(self._make_thread(target=self.turns.run, name="turns"))

    def _build_watch(self) -> None:
        """Build what looks whether all is well with the devices and what they deliver."""
        self._devices = DeviceWatch(
            build.watched_devices(self.config, self.sources.children),
            self._clock,
            make_thread=self._make_thread,
        )
        self._quality = SignalQuality(build.continuous_tracks(self.config))
        self.monitor = Monitor(
            lambda: self.sessions.timeline,
            self._quality,
            self._announcer,
            make_thread=self._make_thread,
        )

    def start(self) -> None:
        """Start the threads."""
        self.monitor.start()
        self._devices.start()
        self.hooks.start()
        self.taps.start()
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads that record: everything is published, or one of them has failed."""
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """End the threads that serve others, and remember drift and echo; after `join`."""
        self.capture.close()
        self._devices.close()
        self.monitor.close()
        self.taps.close()
        self.hooks.close()
        now_ns = self._clock.now_ns()
        self.house.finish("remembering drift", self._drift.save, now_ns)
        self.house.finish("remembering echo", self.echo.save, now_ns)

    def apply(self, config: Config, changes: Changes) -> None:
        """Go on with another configuration; a track that does not change loses nothing.

        Parameters
        ----------
        changes
            From `config` of now to this one, nothing of which is refused.

        Raises
        ------
        RefusedError
            The recorder has ended, or too much is waiting to be done; nothing has changed.
        """
        with self.wishes.lock:
            self.wishes.check_open()
            if changes.new_session:
                self.wishes.restart()
            self.config = config
            plans = {name: build.track_plan(config, name) for name in build.track_configs(config)}
            for name in changes.sources:
                source = self.sources.renew(config, name)
                self.capture.replace(name, source, plans.get(name))
            self.capture.adjust(plans, build.late_s(config))
            self._devices.watch(build.watched_devices(config, self.sources.children))
        self.cleanup.adjust(build.quota_of(config), bytes_per_s=build.bytes_per_s(config))
        self.hooks.configure(config.hooks)
        self._quality.expect(build.continuous_tracks(config))
        self.writer.change(
            partial(build.reshape_recording, config), sync_s=config.storage.sync_seconds
        )

    def backlog(self) -> Backlog:
        """Return what is captured and not durable; for any thread, and while the disk hangs."""
        backlog = self.writer.backlog()
        return replace(backlog, losing=True) if self.sessions.held_up else backlog

    @property
    def captured(self) -> bool:
        """The recorder thread has ended: all that is left is to write."""
        return not self._threads[0].is_alive()

    def _begin_session(self, timeline: SessionTimeline) -> None:
        if self.turns is not None:
            self.turns.begin(timeline)
        self.writer.begin(timeline)

    def _note_committed(self, timeline: SessionTimeline) -> None:
        self.writer.committed(timeline)
        self.taps.committed(timeline)
        self.monitor.committed()

    def _is_heard(self) -> bool:
        return self.taps.count > 0 or self._announcer.wanted(Level)

    def _run_capture(self) -> None:
        try:
            self.capture.run()
        finally:
            if self.turns is not None:
                self.turns.close()
            self.writer.close()

    def _run_writer(self) -> None:
        try:
            self.writer.run()
        finally:
            self.recovery.close()
            self.wishes.close()  # before the loop that they wake is closed
            self.ended.set()
            self._on_change()

    def _observe_echo(self, now_ns: int) -> None:
        self.echo.step(
            now_ns, lambda: observe(self.config, self.sessions.timeline, self.sources.states())
        )

    def _note_published(self, published: Published) -> None:
        with self._telling:
            self._on_published(published)  # first: who is told may want to have it opened here
            self._announcer.announce(FilePublished(published))
            self.hooks.published(published)

    def _tell(self, event: Event) -> None:
        self._announcer.announce(event)
        if isinstance(event, StateChanged) and event.of == "recorder":
            self.hooks.state_changed(event.state)
        self._on_change()
