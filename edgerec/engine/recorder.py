"""The running recorder: its start and end, requests to it, and its status.

Its components are on a page of their own: `pipeline.Pipeline`. An exception in any thread ends the
recorder (`threads.Threads`), and `wait` raises it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from edgerec.audio import TimelineFrame, TrackName
from edgerec.clock import Clock, SystemClock
from edgerec.config import Changes, Config
from edgerec.engine import build
from edgerec.engine.pipeline import Pipeline
from edgerec.feeds.source import FeedSource
from edgerec.health.status import Facts, LastPublished, describe
from edgerec.health.usage import RecentUsage
from edgerec.health.verdict import Reason, Writing
from edgerec.service.watchdog import Vitals
from edgerec.session.events import Announcer
from edgerec.session.requests import Verb
from edgerec.session.threads import Threads
from edgerec.store.publish import Published
from edgerec.store.root import StorageRoot
from edgerec.wire.messages import RefusedError

HANDLERS_S: Final = 2.0
"""Longest time a signal may go unhandled: one that comes after Python has last checked for signals
and before the thread sleeps does not wake it."""


class Recorder:
    """Records sessions, one after the other; a context manager that ends it on leaving.

    A session begins with the recorder, or on request with `recording.auto_start: false`.
    `start_recording`, `stop_recording`, `pause`, `resume` and `rotate` are for any thread. They
    request a change as of now and return at once whether it changes anything; without a session to
    change, or with too many requests waiting, they raise `RefusedError`.

    Parameters
    ----------
    length_s
        The first session ends by itself after this long, and the recorder with it.
    on_published
        Called with every file as soon as it is published, in the thread that does that.
    announcer
        Given by callers that want every event from the beginning on.

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
        """Distributes the recorder's events to subscribers."""
        self.threads = Threads(on_failure=self.stop)
        """Makes further threads for the recorder; one that fails ends the recorder."""
        self._clock = clock or SystemClock(trust_rtc=config.storage.trust_rtc)
        self._on_published = on_published
        self._started_ns = self._clock.now_ns()
        self._last_published: LastPublished | None = None
        self._usage = RecentUsage()
        self._settled = threading.Condition()  # notified on every state change
        self._closed = False
        self._included: list[Callable[[], tuple[Reason, ...]]] = []
        self._root = StorageRoot(config.storage.root, require_mount=config.storage.require_mount)
        self._root.acquire()
        try:
            self._pipeline = Pipeline(
                config,
                self._root,
                self._clock,
                length_s=length_s,
                announcer=self.announcer,
                threads=self.threads,
                on_published=self._note_published,
                on_change=self._note_change,
            )
        except BaseException:
            self._root.release()  # a recorder that can't be made must not keep the next one out
            raise
        self.feeds: Mapping[TrackName, FeedSource] = self._pipeline.sources.feeds
        """Feeds of the tracks that applications push into."""
        self.taps = self._pipeline.taps
        """Taps through which programs listen to the live audio."""
        self.hooks = self._pipeline.hooks
        self._pipeline.start()

    def start_recording(self) -> bool:
        """Begin a session, if there is none; what was sampled before is ignored."""
        return self._ask("start")

    def stop_recording(self) -> bool:
        """End the session; its files are published soon, see `wait_until_stopped`."""
        return self._ask("stop")

    def pause(self) -> bool:
        """Record silence instead of what is sampled from now on, for at least 0.25 s.

        The chunk in progress ends here.
        """
        return self._ask("pause")

    def resume(self) -> bool:
        """Record again what is sampled from now on."""
        return self._ask("resume")

    def rotate(self) -> bool:
        """End the chunk in progress here, if it has 0.1 s; another begins on the next frame."""
        return self._ask("rotate")

    def mark(self, track: TrackName, at_ns: int, *, speaking: bool) -> TimelineFrame:
        """Mark, for an application, that a speaker has the turn, or no longer has it.

        Parameters
        ----------
        at_ns
            Instant of the mark on CLOCK_MONOTONIC; 0: now.

        Returns
        -------
        The frame that is marked.

        Raises
        ------
        RefusedError
            Turns are not recorded, or it can't be taken now.
        """
        if self._pipeline.turns is None:
            hint = "set recording.enable_turn_audio to true"
            raise RefusedError("no_turns", "turns are not recorded", hint)
        return self._pipeline.turns.mark(track, at_ns, speaking=speaking)

    def wait_until_stopped(self, timeout_s: float) -> bool:
        """Wait until no session is wanted and all is published; return whether it was in time."""
        with self._settled:
            return self._settled.wait_for(self._is_stopped, timeout_s)

    @property
    def config(self) -> Config:
        """The current configuration; replaced as a whole by `apply`."""
        return self._pipeline.config

    def apply(self, config: Config, changes: Changes) -> None:
        """Apply another configuration; see `pipeline.Pipeline.apply`."""
        self._pipeline.apply(config, changes)

    def stop(self) -> None:
        """End the recorder now; returns at once. For any thread, and for signal handlers."""
        if not self._closed:
            self._pipeline.capture.stop()

    def include(self, reasons: Callable[[], tuple[Reason, ...]]) -> None:
        """Include the reasons of a component outside the recorder in the status.

        Parameters
        ----------
        reasons
            Returns them, for any thread; must not wait.
        """
        self._included.append(reasons)

    def status(self) -> dict[str, object]:
        """Return the status document as JSON values. For any thread."""
        built = self._pipeline
        return describe(
            Facts(
                kiosk=built.config.kiosk,
                activity=built.sessions.state,
                started_ns=self._started_ns,
                timeline=built.sessions.timeline,
                sources=built.sources.states(),
                heard=built.monitor.heard(),
                writing=Writing(
                    built.writer.state,
                    built.backlog(),
                    build.usual_lag_s(built.config),
                ),
                space=built.cleanup.space,
                last_published=self._last_published,
                clock=self._clock.read(),
                usage=self._usage.at(self._clock.now_ns()),
                hooks=self.hooks.counts,
                taps=self.taps.count,
                taps_lost_blocks=self.taps.lost_blocks,
                echo=built.echo.known,
                more=tuple(one for reasons in self._included for one in reasons()),
                retention_trouble=built.cleanup.trouble,
                turns_trouble=built.turns.trouble if built.turns is not None else None,
                recovery=built.recovery.state,
                chores=built.house.reasons(),
            )
        )

    def vitals(self) -> Vitals:
        """Return what the watchdog compares. For any thread."""
        built = self._pipeline
        timeline = built.sessions.timeline
        recording = timeline is not None and timeline.stop is None
        committed = timeline.history.committed if timeline is not None else 0
        return Vitals(
            seconds=committed / timeline.rate if timeline is not None and recording else None,
            committed=built.sessions.progress,
            rounds=built.capture.rounds,
            durable=built.writer.state.progress.durable,
            captured=built.captured,
            written=built.writer.progress,
            trouble=built.writer.state.trouble,
            sources=built.sources.states(),
        )

    def wait(self) -> None:
        """Wait until the recorder has ended and everything is published.

        Raises
        ------
        Exception
            The exception that ended a thread.
        """
        while not self._pipeline.ended.wait(HANDLERS_S):
            continue  # a signal that came just before the wait has its handler run now
        self._pipeline.join()
        if not self._closed:
            self._closed = True
            self._pipeline.close()
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
        """Stop, and wait until everything is published, unless `wait` has done so."""
        if not self._closed:
            self.stop()
            self.wait()

    def _ask(self, verb: Verb) -> bool:
        wishes = self._pipeline.wishes
        with wishes.lock:  # or the loop might be closed in between
            changes = wishes.ask(verb)
            if changes:
                self._pipeline.capture.wake()
        return changes

    def _is_stopped(self) -> bool:
        built = self._pipeline
        idle = built.wishes.wanted == built.sessions.state == "idle"
        return built.ended.is_set() or (idle and not built.writer.unwritten)

    def _note_change(self) -> None:
        with self._settled:
            self._settled.notify_all()

    def _note_published(self, published: Published) -> None:
        self._last_published = LastPublished.of(published, self._clock.now_ns())
        self._on_published(published)
