"""The running recorder, on one page: sources -> synchronizer -> history -> files.

    capture children ==pipes==> recorder thread ==history ring==> writer thread ==> ready/
    applications ==sockets==^

The recorder thread waits for pipes and sockets only, the writer thread for the disk. A thread that
raises ends the session; whoever waits for it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

from edgerec.audio import TrackName
from edgerec.capture.feed import FeedSource
from edgerec.clock import Clock, SystemClock
from edgerec.config import Config
from edgerec.service import parts
from edgerec.service.capture_loop import CaptureLoop
from edgerec.service.drift_memory import FILE as DRIFT_FILE
from edgerec.service.drift_memory import DriftMemory
from edgerec.service.monitor import Monitor
from edgerec.service.signal_quality import SignalQuality
from edgerec.service.spare_memory import SpareMemory
from edgerec.service.status import Facts, LastPublished, Watched, describe
from edgerec.service.supervisor import Vitals
from edgerec.service.usage import usage
from edgerec.service.writer_loop import WriterLoop
from edgerec.store.publish import Published
from edgerec.store.root import StorageRoot

HANDLERS_S: Final = 0.5
"""How long a signal may go unanswered: one that comes after Python has last looked for signals and
before the thread sleeps does not wake it."""


class Recorder:
    """Records one session; a context manager that stops it on leaving.

    Parameters
    ----------
    length_s
        The session ends by itself after this long; None: only `stop` ends it.
    on_published
        Called in the writer thread with every file as soon as it is published.

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
    ) -> None:
        self._clock = clock = clock or SystemClock()
        self._root = StorageRoot(config.storage.root, require_mount=config.storage.require_mount)
        self._root.acquire()
        try:
            self._build(config, clock, length_s, on_published)
        except BaseException:
            self._root.release()  # a recorder that can't be made must not keep the next one out
            raise
        self._monitor.start()
        for thread in self._threads:
            thread.start()

    def _build(
        self,
        config: Config,
        clock: Clock,
        length_s: float | None,
        on_published: Callable[[Published], None],
    ) -> None:
        self._kiosk = config.kiosk
        self._started_ns = clock.now_ns()
        self._last_published: LastPublished | None = None
        self._on_published = on_published
        self._drift = DriftMemory(self._root.state / DRIFT_FILE)
        self._spare_memory = SpareMemory()
        self._cleanup = parts.build_cleanup(config, self._root, clock)
        self._writer = WriterLoop(
            clock,
            open_recording=lambda timeline: parts.open_recording(
                config,
                self._root,
                timeline,
                self._note_published,
                clock=clock,
                utc_wait_s=config.storage.utc_wait_s,
            ),
            sync_s=config.storage.sync_seconds,
            housekeeping=self._keep_house,
        )
        self.feeds: Mapping[TrackName, FeedSource] = parts.build_feeds(config, clock)
        """Of the tracks that applications push into."""
        children = parts.build_children(config, clock.now_ns())
        self._watched: Mapping[TrackName, Watched] = {**children, **self.feeds}
        self._capture = CaptureLoop(
            {**children, **self.feeds},
            parts.build_synchronizer(config, self._drift.drift_ppm),
            clock,
            length_s=length_s,
            choose_rate=partial(parts.recording_rate, config),
            build_history=partial(parts.build_history, config),
            on_session=self._writer.begin,
        )
        self._monitor = Monitor(
            lambda: self._capture.timeline, SignalQuality(parts.continuous_tracks(config))
        )
        self._failure: BaseException | None = None
        self._closed = False
        self._ended = threading.Event()
        self._threads = (
            threading.Thread(target=self._run_capture, name="recorder"),
            threading.Thread(target=self._run_writer, name="writer"),
        )

    def stop(self) -> None:
        """End the session now; returns at once. For any thread, and for signal handlers."""
        if not self._closed:
            self._capture.stop()

    def status(self) -> dict[str, object]:
        """Return how the recording is, as JSON values. For any thread."""
        return describe(
            Facts(
                kiosk=self._kiosk,
                started_ns=self._started_ns,
                timeline=self._capture.timeline,
                sources={name: source.state for name, source in self._watched.items()},
                heard=self._monitor.heard(),
                writing=self._writer.state,
                space=self._cleanup.space,
                last_published=self._last_published,
                clock=self._clock.read(),
                usage=usage(),
            )
        )

    def vitals(self) -> Vitals:
        """Return what the watchdog goes by. For any thread."""
        timeline = self._capture.timeline
        recording = timeline is not None and timeline.stop is None
        committed = timeline.history.committed if timeline is not None else 0
        return Vitals(
            seconds=committed / timeline.rate if timeline is not None and recording else None,
            committed=committed,
            rounds=self._capture.rounds,
            captured=not self._threads[0].is_alive(),
            written=self._writer.progress,
            trouble=self._writer.state.trouble,
            sources={name: source.state for name, source in self._watched.items()},
        )

    def wait(self) -> None:
        """Wait until the session has ended and everything is published.

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
            self._monitor.close()
            self._capture.close()
            self._drift.save()
            self._root.release()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        """Return the recorder, which is recording."""
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

    def _run_capture(self) -> None:
        try:
            self._capture.run()
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._writer.close()

    def _note_published(self, published: Published) -> None:
        self._last_published = LastPublished.of(published, self._clock.now_ns())
        self._on_published(published)

    def _keep_house(self, now_ns: int) -> None:
        self._drift.save_now_and_then(now_ns)
        self._cleanup.step(now_ns)
        self._spare_memory.step(now_ns)

    def _run_writer(self) -> None:
        try:
            self._writer.run()
        except BaseException as error:
            self._failure = self._failure or error
            self._capture.stop()
        finally:
            self._ended.set()
