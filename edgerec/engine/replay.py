"""Runs the recorder's own loops over recorded input, in one thread and as fast as possible.

Time is that of the blocks: the loops are stepped once for each second of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edgerec.audio import TRACKS, Delivery, GapReason, StreamEnded, TimelineFrame, TrackName
from edgerec.clock import SECOND_NS, SystemClock
from edgerec.config import Config
from edgerec.engine.build import RootFiles, Surroundings
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.housekeeping import SPARE_MEMORY, Housekeeping
from edgerec.engine.plan import Current, Plan
from edgerec.engine.replay_input import (
    END_OF_INPUT,
    Inputs,
    ReplayClock,
    ReplayError,
    ReplaySource,
    StampCheck,
    only,
)
from edgerec.engine.session_start import EarliestTrack
from edgerec.engine.session_turns import build_session_turns
from edgerec.engine.sessions import Sessions
from edgerec.engine.turn_loop import TurnLoop
from edgerec.engine.writer_loop import WriterLoop
from edgerec.health.monitor import Monitor
from edgerec.health.signal_quality import SignalQuality
from edgerec.session.requests import SessionRequests
from edgerec.session.timeline import Listener, SessionTimeline
from edgerec.store.publish import FilePublished
from edgerec.store.records.sidecar_reader import DescribedSession, read_sidecar
from edgerec.store.root import StorageRoot
from edgerec.sync.synchronizer import Synchronizer
from edgerec.wire.trace import open_input

STEP_NS: Final = 1 * SECOND_NS  # of input between two steps; history holds it many times over
BEFORE_NS: Final = -(1 << 62)
"""Time of a step that only takes audio in: the session can begin as soon as that is possible, and
yet nothing is placed before the first whole step, when its clocks have seen more."""
STOPPED: Final = "stopped before the end of the input"


def replay(
    config: Config,
    inputs: Mapping[TrackName, Path],
    *,
    on_published: Callable[[FilePublished], None],
    on_progress: Callable[[float], None] = lambda seconds: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Record the inputs into `storage.root` as one session.

    Parameters
    ----------
    config
        The configuration; the source of a track without input is taken as `none`.
    inputs
        Traces or WAV files.
    on_progress
        Called now and then with the number of seconds done.
    stopped
        Returns whether to end here; what came before is published.

    Raises
    ------
    ReplayError
        The inputs have no audio or no clock in common, one is damaged or has impossible arrival
        times, its stamps leave a hole longer than `MAX_HOLES_S` allows, the replay was stopped, or
        turns could not be found. All that could be read before is published.
    TraceError, OSError
        An input is neither a trace nor a WAV file, or can't be opened.
    StoreError
        `storage.root` can't be used, or its disk fails; the replay ends there.
    """
    arrivals = Inputs({name: open_input(path, name) for name, path in inputs.items()})
    wrong: list[str] = []
    with StorageRoot(config.storage.root) as root:
        clock = ReplayClock(arrivals.headers.values())
        replayed = _Replay(Plan.of(only(config, inputs)), root, clock, on_published)
        try:
            for at_ns, track, delivery in arrivals:
                end = STOPPED if stopped() else replayed.why_end(at_ns)
                if end is not None:
                    wrong.append(end if end is STOPPED else f"{inputs[track]}: {end}")
                    break
                if isinstance(delivery, StreamEnded) and delivery.detail != END_OF_INPUT:
                    wrong.append(delivery.detail)
                replayed.deliver(at_ns, track, delivery)
                on_progress(replayed.seconds)
            if not replayed.finish():
                wrong = wrong or ["the inputs have no audio: nothing to replay"]
            wrong += replayed.failures(inputs)
        finally:
            replayed.close()
    if wrong:
        raise ReplayError("; ".join(wrong))


class _Replay:
    """The loops of a recorder, stepped through one session over recorded input."""

    def __init__(
        self,
        plan: Plan,
        root: StorageRoot,
        clock: ReplayClock,
        on_published: Callable[[FilePublished], None],
    ) -> None:
        self._clock = clock
        self._on_published = on_published
        self._record: DescribedSession | None = None  # once it is published
        self._timeline: SessionTimeline | None = None  # once it has begun
        self._check = StampCheck(plan.tracks)
        self._step_ns = 0
        self._held: list[tuple[TrackName, StreamEnded]] = []  # ends before the session began

        # The same as in `build_parts`, without what remembers, deletes or waits. What crashes have
        # left is of this machine, and has its time.
        around = Surroundings(on_published=self._note)
        current = Current(plan)
        synchronizer = Synchronizer(plan.tracks, late_s=plan.late_s, drift_memory={})
        self._turns = None
        if plan.turns.wanted:
            self._turns = TurnLoop(clock, lambda began: build_session_turns(plan.turns, began))
        files = RootFiles(root, SystemClock(), around)
        house = Housekeeping([SPARE_MEMORY])
        self._writer = WriterLoop(current, files, clock, house, around.events.publish)
        self._monitor = Monitor(lambda: current.timeline, SignalQuality(plan.continuous))
        listeners: list[Listener] = [self._writer, self._monitor]
        if self._turns is not None:
            listeners.insert(0, self._turns)
        self._start = EarliestTrack(clock)
        requests = SessionRequests(clock, started=True)
        self._sessions = Sessions(
            synchronizer, requests, clock, listeners, current, start=self._start
        )
        self._sources = {name: ReplaySource() for name in plan.tracks}
        self._capture = CaptureLoop(self._sources, self._sessions, publish=around.events.publish)
        files.recovery.step()

    @property
    def seconds(self) -> float:
        """Length of the session that is done, in seconds."""
        timeline = self._timeline
        return 0.0 if timeline is None else timeline.history.committed / timeline.rate

    def why_end(self, at_ns: int) -> str | None:
        """Return why the replay ends before what arrives at `at_ns`; None: it does not."""
        writing = self._writer.state
        if trouble := writing.trouble or writing.unpublishable:
            return f"the rest of the input is left out, the disk failed: {trouble}"
        return self._check.hole(at_ns)

    def deliver(self, at_ns: int, track: TrackName, delivery: Delivery) -> None:
        """Take in a delivery that arrived at `at_ns`, and step the loops if that is due."""
        self._clock.at_ns = at_ns
        if at_ns > self._step_ns + STEP_NS:
            self._step(at_ns)  # nothing came meanwhile, and history has only so much room
        self._check.take(track, delivery)
        if isinstance(delivery, StreamEnded) and self._timeline is None:
            self._held.append((track, delivery))  # what is in hand has no place yet
        else:
            self._sources[track].give(delivery)
        if self._timeline is None:
            self._take_in()
        if at_ns >= self._step_ns:
            self._step_ns = at_ns + STEP_NS
            self._step(at_ns)

    def finish(self) -> bool:
        """Publish everything; return whether there is anything."""
        cut_off = StreamEnded(GapReason.SOURCE, STOPPED)
        self._held += [(track, cut_off) for track in self._check.open]
        self._start.complete = True
        self._take_in()
        timeline = self._timeline
        if timeline is None:
            return False
        self._give_held()
        self._take_in()  # with its end, all of a track is placed
        end = TimelineFrame(max(timeline.history.end(index) for index in range(len(TRACKS))))
        self._clock.at_ns = timeline.stamp_of(end).monotonic_ns + 1  # which is rounded down
        self._capture.stop()
        self._step(self._clock.at_ns)
        self._writer.over()
        self._writer.run()
        return True

    def failures(self, inputs: Mapping[TrackName, Path]) -> list[str]:
        """Return what else went wrong, once everything is published."""
        failures = []
        if self._timeline is not None and self._record is not None:
            unplaced = self._check.unplaced(self._timeline, self._record)
            failures = [f"{inputs[track]}: {why}" for track, why in unplaced.items()]
        if self._turns is not None and self._turns.trouble is not None:
            failures.append(f"not all turns were found: {self._turns.trouble}")
        if names := self._writer.state.quarantined:
            failures.append(f"beyond repair, kept in quarantine: {', '.join(names)}")
        return failures

    def close(self) -> None:
        """Release what the loops hold of the system."""
        self._capture.close()

    def _take_in(self) -> None:
        """Take in what was given, and begin the session if that is possible; place nothing."""
        self._capture.step(BEFORE_NS)
        if self._timeline is None and self._sessions.timeline is not None:
            self._timeline = timeline = self._sessions.timeline
            self._clock.begin(timeline.stamp_of(TimelineFrame(0)).monotonic_ns)
            self._give_held()

    def _give_held(self) -> None:
        while self._held:
            track, end = self._held.pop()
            self._sources[track].give(end)

    def _step(self, at_ns: int) -> None:
        """Step every loop until all that is decided at `at_ns` is written."""
        more = self._timeline is not None
        while more:
            self._capture.step(at_ns)
            if self._turns is not None:
                self._turns.step()  # first: it says what is written
            self._writer.step()
            self._monitor.step()  # which logs signals that are wrong
            more = self._sessions.behind

    def _note(self, published: FilePublished) -> None:
        if published.kind == "session" and self._timeline is not None:
            record = read_sidecar(published.sidecar)
            assert isinstance(record, DescribedSession)
            self._record = record
        self._on_published(published)
