"""A running recorder: what can be asked of it, how it is, and its life from start to end.

`build.build_parts` makes what it consists of. A thread that fails ends the recorder, and `wait`
raises what it has failed of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Self

from edgerec.audio import Played, TimelineFrame, TrackName
from edgerec.clock import Clock, SystemClock
from edgerec.config import Config
from edgerec.engine.build import Surroundings, build_parts
from edgerec.engine.changes import Changes
from edgerec.engine.plan import Plan
from edgerec.feeds.source import FeedSource
from edgerec.health.snapshot import status_of
from edgerec.health.status import Reason, Status
from edgerec.health.usage import RecentUsage
from edgerec.health.verdict import Facts, Vitals, Writing
from edgerec.session.requests import Verb
from edgerec.session.timeline import Backlog
from edgerec.store.root import StorageRoot
from edgerec.wire.messages import RefusedError

HANDLERS_S: Final = 2.0
"""How long a signal may go unanswered: one that comes after Python has last looked for signals and
before the thread sleeps does not wake it."""
STOPPED_LOOK_S: Final = 0.02
"""Between two looks whether a session is published, while somebody waits for it."""


class Engine:
    """Records sessions, one after the other; a context manager that ends it on leaving.

    A session begins with the engine, or with `recording.auto_start: false` when it is asked for.
    `start_recording`, `stop_recording`, `pause`, `resume` and `rotate` are for any thread. They ask
    for something as of now and return at once whether it changes anything; where there is no
    session to change, or too much is asked at once, they raise `RefusedError`.

    Parameters
    ----------
    length_s
        The first session ends by itself after this long, and the engine with it.
    around
        Parts made before the engine, which hear it from its first event on.

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
        around: Surroundings | None = None,
    ) -> None:
        self._around = around = around or Surroundings()
        self.events = around.events
        """Everything that happens, for those who subscribe."""
        self._clock = clock or SystemClock(trust_rtc=config.storage.trust_rtc)
        self._started_ns = self._clock.now_ns()
        self._usage = RecentUsage()
        self._ended = threading.Event()  # nothing more is captured, written or taken in
        self._closed = False
        self._included: list[Callable[[], tuple[Reason, ...]]] = []
        self._root = StorageRoot(config.storage.root, require_mount=config.storage.require_mount)
        self._root.acquire()
        try:
            self._parts = build_parts(
                Plan.of(config), self._root, self._clock, around, length_s=length_s
            )
        except BaseException:
            self._root.release()  # an engine that can't be built must not keep the next one out
            raise
        parts, make = self._parts, around.threads.make
        loops: dict[str, Callable[[], None]] = {
            "recorder": parts.capture.run,
            "writer": self._write,
            "recovery": parts.files.recovery.run,
        }
        if parts.turns is not None:
            loops["turns"] = parts.turns.run
        self._threads = {name: make(target=run, name=name) for name, run in loops.items()}
        self.feeds: Mapping[TrackName, FeedSource] = parts.sources.feeds
        """The feeds of tracks that applications push into."""
        around.threads.end_with(self.stop)
        parts.monitor.start()
        parts.devices.start()
        for thread in self._threads.values():
            thread.start()

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
            Instant on CLOCK_MONOTONIC; 0: now.

        Returns
        -------
        The frame that is marked.

        Raises
        ------
        RefusedError
            Turns are not recorded, no session is, the instant is too far ahead, or too many marks
            are waiting.
        """
        if self._parts.turns is None:
            hint = "set recording.enable_turn_audio to true"
            raise RefusedError("no_turns", "turns are not recorded", hint)
        return self._parts.turns.mark(track, at_ns, speaking=speaking)

    def clear(self, track: TrackName, at_ns: int | None = None) -> Played:
        """Drop what was pushed into a track and is not played; see `FeedSource.clear`.

        Raises
        ------
        RefusedError
            Applications do not feed the track, or the recording has ended.
        """
        return self._feed(track).clear(at_ns)

    def played(self, track: TrackName, start: int = 0, stop: int | None = None) -> Played:
        """Return what has become of what was pushed into a track; see `FeedSource.played`.

        Raises
        ------
        RefusedError
            Applications do not feed the track, or the frames are not known.
        """
        return self._feed(track).played(start, stop)

    def _feed(self, track: TrackName) -> FeedSource:
        feed = self.feeds.get(track)
        if feed is None:
            raise RefusedError(
                "no_feed",
                f"the {track} track is not fed by applications",
                f"set tracks.{track}.source to feed",
            )
        return feed

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait until no session is wanted and all is published; return whether it was in time."""
        until_s = time.monotonic() + timeout_s
        while not (stopped := self._is_stopped()) and time.monotonic() < until_s:
            time.sleep(STOPPED_LOOK_S)
        return stopped

    @property
    def config(self) -> Config:
        """The configuration that is recorded by."""
        return self.plan.config

    @property
    def plan(self) -> Plan:
        """The plan that is recorded by; replaced as a whole by `apply`."""
        return self._parts.current.plan

    def apply(self, plan: Plan, changes: Changes) -> None:
        """Record by another plan; a track that does not change loses nothing.

        Parameters
        ----------
        changes
            Changes from the present plan to this one; none of them is refused.

        Raises
        ------
        RefusedError
            The engine has ended, or too much is waiting to be done; nothing has changed.
        """
        parts = self._parts
        with parts.requests.lock:
            parts.requests.check_open()
            if changes.new_session:
                parts.requests.restart()
            parts.current.plan = plan
            parts.capture.follow(plan, parts.sources.renew(plan, changes.sources))
            parts.devices.watch(parts.sources.watched(plan))
        parts.cleanup.adjust(plan.quota, bytes_per_s=plan.bytes_per_s)
        parts.quality.expect(plan.continuous)

    def stop(self) -> None:
        """End it all now; returns at once. For any thread, and for signal handlers."""
        if not self._closed:
            self._parts.capture.stop()

    def include(self, reasons: Callable[[], tuple[Reason, ...]]) -> None:
        """Have the status carry what something built around the engine finds wrong.

        Parameters
        ----------
        reasons
            For any thread; must not wait.
        """
        self._included.append(reasons)

    def status(self) -> Status:
        """Return how the recording is. For any thread."""
        parts, around = self._parts, self._around
        return status_of(
            Facts(
                kiosk=self.config.kiosk,
                activity=parts.sessions.state,
                started_ns=self._started_ns,
                timeline=parts.sessions.timeline,
                sources=parts.sources.states(),
                heard=parts.monitor.heard(),
                writing=Writing(parts.writer.state, self.backlog(), self.plan.usual_lag_s),
                space=parts.cleanup.space,
                last_published=parts.files.last,
                clock=self._clock.read(),
                usage=self._usage.at(self._clock.now_ns()),
                hooks=around.hook_counts(),
                taps=around.live.count,
                taps_lost_blocks=around.live.lost_blocks,
                echo=parts.echo.known,
                more=tuple(one for reasons in self._included for one in reasons()),
                retention_trouble=parts.cleanup.trouble,
                turns_trouble=parts.turns.trouble if parts.turns is not None else None,
                recovery=parts.files.recovery.state,
                chores=parts.house.reasons(),
            )
        )

    def backlog(self) -> Backlog:
        """Return what is captured and not durable; for any thread, and while the disk hangs."""
        backlog = self._parts.writer.backlog()
        return replace(backlog, losing=True) if self._parts.sessions.held_up else backlog

    def vitals(self) -> Vitals:
        """Return what the watchdog goes by. For any thread."""
        parts = self._parts
        timeline = parts.sessions.timeline
        recording = timeline is not None and timeline.stop is None
        committed = timeline.history.committed if timeline is not None else 0
        return Vitals(
            seconds=committed / timeline.rate if timeline is not None and recording else None,
            committed=parts.sessions.progress,
            rounds=parts.capture.rounds,
            durable=parts.writer.state.progress.durable,
            captured=not self._threads["recorder"].is_alive(),
            written=parts.writer.progress,
            trouble=parts.writer.state.trouble,
            sources=parts.sources.states(),
        )

    def wait(self) -> None:
        """Wait until the engine has ended and everything is published.

        Raises
        ------
        Exception
            What ended a thread.
        """
        while not self._ended.wait(HANDLERS_S):
            continue  # a signal that came just before the wait has its handler run now
        for thread in self._threads.values():
            thread.join()
        if not self._closed:
            self._closed = True
            self._parts.close()
            self._root.release()
        if self._around.threads.failure is not None:
            raise self._around.threads.failure

    def __enter__(self) -> Self:
        """Return the engine, which is running."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait until everything is published, unless that has been waited for."""
        if not self._closed:
            self.stop()
            self.wait()

    def _write(self) -> None:
        try:
            self._parts.writer.run()
        finally:
            self._parts.files.recovery.close()
            self._parts.requests.close()  # before the loop that they wake is closed
            self._ended.set()

    def _ask(self, verb: Verb) -> bool:
        requests = self._parts.requests
        with requests.lock:  # or the loop might be closed in between
            changes = requests.ask(verb)
            if changes:
                self._parts.capture.wake()
        return changes

    def _is_stopped(self) -> bool:
        parts = self._parts
        idle = parts.requests.wanted == parts.sessions.state == "idle"
        return self._ended.is_set() or (idle and not parts.writer.unwritten)
