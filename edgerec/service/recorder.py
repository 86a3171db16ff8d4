"""The running recorder, on one page: sources -> synchronizer -> history -> files.

    capture children ==pipes==> recorder thread ==history ring==> writer thread ==> ready/
    applications ==sockets==^

The recorder thread waits for pipes and sockets only, the writer thread for the disk. Whatever
thread raises ends the recorder (`threads.Threads`); whoever waits for it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

from edgerec.audio import TimelineFrame, TrackName
from edgerec.capture.answers import RefusedError
from edgerec.capture.device_watch import DeviceWatch
from edgerec.capture.feed import FeedSource
from edgerec.clock import Clock, SystemClock
from edgerec.config import Changes, Config
from edgerec.service import parts
from edgerec.service.announcements import Announcer, Event, FilePublished, Level, StateChanged
from edgerec.service.capture_loop import CaptureLoop
from edgerec.service.drift_memory import FILE as DRIFT_FILE
from edgerec.service.drift_memory import DriftMemory
from edgerec.service.hooks import Hooks
from edgerec.service.monitor import Monitor
from edgerec.service.sessions import Sessions
from edgerec.service.signal_quality import SignalQuality
from edgerec.service.sources import Sources
from edgerec.service.spare_memory import SpareMemory
from edgerec.service.status import Facts, LastPublished, describe
from edgerec.service.supervisor import Vitals
from edgerec.service.taps import Taps
from edgerec.service.threads import Threads
from edgerec.service.timeline import SessionTimeline
from edgerec.service.turn_parts import build_turn_loop
from edgerec.service.usage import RecentUsage
from edgerec.service.wishes import Verb, Wishes
from edgerec.service.writer_loop import WriterLoop
from edgerec.store.publish import Published
from edgerec.store.root import StorageRoot

HANDLERS_S: Final = 2.0
"""How long a signal may go unanswered: one that comes after Python has last looked for signals and
before the thread sleeps does not wake it."""
MAX_UNWRITTEN: Final = 2  # sessions with a history each: one that ends while the next one begins


class Recorder:
    """Records sessions, one after the other; a context manager that ends it on leaving.

    A session begins with the recorder, or with `recording.auto_start: false` when it is asked for.
    `start_recording`, `stop_recording`, `pause`, `resume` and `rotate` are for any thread. They ask
    for something as of now and return at once whether it changes anything; where there is no
    session to change, or too much is asked at once, they raise `RefusedError`.

    Parameters
    ----------
    length_s
        The first session ends by itself after this long, and the recorder with it.
    on_published
        Called in the writer thread with every file as soon as it is published.
    announcer
        Given by who wants to hear everything from the very beginning on.

    Raises
    ------
    StoreError
        The storage root can't be used, or another process holds it.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        length_s: float | None = None,
        on_published: Callable[[Published], None] = lambda published: None,
        announcer: Announcer | None = None,
    ) -> None:
        self.announcer = announcer or Announcer()
        """What happens, for whoever subscribes to it."""
        self.threads = Threads(on_failure=self.stop)
        """For whoever serves it with a thread of its own: one that fails ends the recorder."""
        self._config = config
        self._clock = clock or SystemClock()
        self._on_published = on_published
        self._started_ns = self._clock.now_ns()
        self._last_published: LastPublished | None = None
        self._usage = RecentUsage()
        self._spare_memory = SpareMemory()
        self._settled = threading.Condition()  # held to be woken, by each event
        self._ended = threading.Event()
        self._closed = False
        self._root = StorageRoot(config.storage.root, require_mount=config.storage.require_mount)
        self._root.acquire()
        try:
            self._build_capture(config, length_s)
            self._build_writing(config)
            self._build_watch(config)
        except BaseException:
            self._root.release()  # a recorder that can't be made must not keep the next one out
            raise
        self._monitor.start()
        self._devices.start()
        self.hooks.start()
        self.taps.start()
        for thread in self._threads:
            thread.start()

    def _build_capture(self, config: Config, length_s: float | None) -> None:
        """Build what is in the recorder thread: sources -> synchronizer -> history."""
        self._wishes = Wishes(self._clock, started=config.recording.auto_start)
        self._sources = Sources(config, self._clock)
        self.feeds: Mapping[TrackName, FeedSource] = self._sources.feeds
        """Of the tracks that applications push into."""
        self.taps = Taps(self._clock, make_thread=self.threads.make)
        """For whoever listens to the live audio."""
        self._drift = DriftMemory(self._root.state / DRIFT_FILE)
        synchronizer = parts.build_synchronizer(config, self._drift.drift_ppm)
        self._sessions = Sessions(
            synchronizer,
            self._wishes,
            self._clock,
            length_s=length_s,
            choose_rate=lambda headers: parts.recording_rate(self._config, headers),
            build_history=lambda rate: parts.build_history(self._config, rate),
            on_session=self._begin_session,
            may_begin=lambda: self._writer.unwritten < MAX_UNWRITTEN,
        )
        self._capture = CaptureLoop(
            self._sources.by_track,
            synchronizer,
            self._sessions,
            self._wishes,
            self._clock,
            announce=self._tell,
            ends_with_session=length_s is not None,
            on_delivery=self.taps.take,
            on_committed=self._note_committed,
            is_heard=self._is_heard,
            pace_ms=parts.pace_ms(config),
        )

    def _build_writing(self, config: Config) -> None:
        """Build what makes files of the history: turn thread and writer thread, and hooks."""
        self._turns = build_turn_loop(lambda: self._config, self._clock)
        self._cleanup = parts.build_cleanup(config, self._root, self._clock)
        self._writer = WriterLoop(
            self._clock,
            open_recording=lambda timeline: parts.open_recording(
                self._config,
                self._root,
                timeline,
                self._note_published,
                clock=self._clock,
                utc_wait_s=self._config.storage.utc_wait_s,
            ),
            sync_s=config.storage.sync_seconds,
            housekeeping=self._keep_house,
            announce=self._tell,
        )
        self.hooks = Hooks(config.hooks, self._clock, make_thread=self.threads.make)
        self._threads = [
            self.threads.make(target=self._run_capture, name="recorder"),
            self.threads.make(target=self._run_writer, name="writer"),
        ]
        if self._turns is not None:
            self._threads.append(self.threads.make(target=self._turns.run, name="turns"))

    def _build_watch(self, config: Config) -> None:
        """Build what looks whether all is well with the devices and what they deliver."""
        self._devices = DeviceWatch(
            parts.watched_devices(config, self._sources.children),
            self._clock,
            make_thread=self.threads.make,
        )
        self._quality = SignalQuality(parts.continuous_tracks(config))
        self._monitor = Monitor(
            lambda: self._sessions.timeline,
            self._quality,
            self.announcer,
            make_thread=self.threads.make,
        )

    def start_recording(self) -> bool:
        """Begin a session, if there is none; what was sampled before is ignored."""
        return self._ask("start")

    def stop_recording(self) -> bool:
        """End the session; its files are published soon, see `wait_until_stopped`."""
        return self._ask("stop")

    def pause(self) -> bool:
        """Record silence instead of what is sampled from now on, for 0.25 s at least.

        The chunk in progress ends here.
        """
        return self._ask("pause")

    def resume(self) -> bool:
        """Record again what is sampled from now on."""
        return self._ask("resume")

    def rotate(self) -> bool:
        """End the chunk in progress here, if it has 0.1 s; the next begins on the next frame."""
        return self._ask("rotate")

    def mark(self, track: TrackName, at_ns: int, *, speaking: bool) -> TimelineFrame:
        """Take an application's word that a speaker has the turn, or has it no more.

        Parameters
        ----------
        at_ns
            As of when, on CLOCK_MONOTONIC; 0: now.

        Returns
        -------
        The frame that is marked.

        Raises
        ------
        RefusedError
            Turns are not recorded, or it can't be taken now.
        """
        if self._turns is None:
            hint = "set recording.enable_turn_audio to true"
            raise RefusedError("no_turns", "turns are not recorded", hint)
        return self._turns.mark(track, at_ns, speaking=speaking)

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait until no session is wanted and all is published; return whether it was in time."""
        with self._settled:
            return self._settled.wait_for(self._is_stopped, timeout_s)

    @property
    def config(self) -> Config:
        """What is recorded by; replaced as a whole by `apply`."""
        return self._config

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
        with self._wishes.lock:
            self._wishes.check_open()
            if changes.new_session:
                self._wishes.restart()
            self._config = config
            plans = {name: parts.track_plan(config, name) for name in parts.track_configs(config)}
            for name in changes.sources:
                source = self._sources.renew(config, name)
                self._capture.replace(name, source, plans.get(name))
            self._capture.adjust(plans, parts.late_s(config))
            self._devices.watch(parts.watched_devices(config, self._sources.children))
        self._cleanup.adjust(parts.quota_of(config), bytes_per_s=parts.bytes_per_s(config))
        self.hooks.configure(config.hooks)
        self._quality.expect(parts.continuous_tracks(config))
        self._writer.change(
            partial(parts.reshape_recording, config), sync_s=config.storage.sync_seconds
        )

    def stop(self) -> None:
        """End it all now; returns at once. For any thread, and for signal handlers."""
        if not self._closed:
            self._capture.stop()

    def status(self) -> dict[str, object]:
        """Return how the recording is, as JSON values. For any thread."""
        return describe(
            Facts(
                kiosk=self._config.kiosk,
                activity=self._sessions.state,
                started_ns=self._started_ns,
                timeline=self._sessions.timeline,
                sources=self._sources.states(),
                heard=self._monitor.heard(),
                writing=self._writer.state,
                space=self._cleanup.space,
                last_published=self._last_published,
                clock=self._clock.read(),
                usage=self._usage.at(self._clock.now_ns()),
                hooks=self.hooks.counts,
                taps=self.taps.count,
                taps_lost_blocks=self.taps.lost_blocks,
                turns_trouble=self._turns.trouble if self._turns is not None else None,
            )
        )

    def vitals(self) -> Vitals:
        """Return what the watchdog goes by. For any thread."""
        timeline = self._sessions.timeline
        recording = timeline is not None and timeline.stop is None
        committed = timeline.history.committed if timeline is not None else 0
        return Vitals(
            seconds=committed / timeline.rate if timeline is not None and recording else None,
            committed=committed,
            rounds=self._capture.rounds,
            captured=not self._threads[0].is_alive(),
            written=self._writer.progress,
            trouble=self._writer.state.trouble,
            sources=self._sources.states(),
        )

    def wait(self) -> None:
        """Wait until the recorder has ended and everything is published.

        Raises
        ------
        Exception
            What ended a thread.
        """
        while not self._ended.wait(HANDLERS_S):
            continue  # a signal that came just before the wait has its handler run now
        for thread in self._threads:
            thread.join()
        if not self._closed:
            self._closed = True
            self._capture.close()
            self._devices.close()
            self._monitor.close()
            self.taps.close()
            self.hooks.close()
            self._drift.save()
            self._root.release()
        if self.threads.failure is not None:
            raise self.threads.failure

    def __enter__(self) -> Self:
        """Return the recorder, which is running."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and wait until everything is published, unless that has been waited for."""
        if not self._closed:
            self.stop()
            self.wait()

    def _ask(self, verb: Verb) -> bool:
        with self._wishes.lock:  # or the loop might be closed in between
            changes = self._wishes.ask(verb)
            if changes:
                self._capture.wake()
        return changes

    def _is_stopped(self) -> bool:
        idle = self._wishes.wanted == self._sessions.state == "idle"
        return self._ended.is_set() or (idle and not self._writer.unwritten)

    def _tell(self, event: Event) -> None:
        self.announcer.announce(event)
        if isinstance(event, StateChanged) and event.of == "recorder":
            self.hooks.state_changed(event.state)
        with self._settled:
            self._settled.notify_all()

    def _note_committed(self, timeline: SessionTimeline) -> None:
        self._writer.committed(timeline)
        self.taps.committed(timeline)
        self._monitor.committed()

    def _is_heard(self) -> bool:
        return self.taps.count > 0 or self.announcer.wanted(Level)

    def _begin_session(self, timeline: SessionTimeline) -> None:
        if self._turns is not None:
            self._turns.begin(timeline)
        self._writer.begin(timeline)

    def _run_capture(self) -> None:
        try:
            self._capture.run()
        finally:
            if self._turns is not None:
                self._turns.close()
            self._writer.close()

    def _note_published(self, published: Published) -> None:
        self._last_published = LastPublished.of(published, self._clock.now_ns())
        self._on_published(published)  # first: who is told of it may want to have it opened here
        self.announcer.announce(FilePublished(published))
        self.hooks.published(published)

    def _keep_house(self, now_ns: int) -> None:
        self._drift.save_now_and_then(now_ns)
        self._cleanup.step(now_ns)
        self._spare_memory.step(now_ns)

    def _run_writer(self) -> None:
        try:
            self._writer.run()
        finally:
            self._wishes.close()  # before the loop that they wake is closed
            self._ended.set()
            with self._settled:
                self._settled.notify_all()
