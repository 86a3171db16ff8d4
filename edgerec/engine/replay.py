"""Runs the same pipeline over recorded input, in one thread and as fast as possible.

Time is that of the blocks: the session's epoch is the earliest first frame of the two tracks.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgerec.audio import Block, Delivery, GapReason, StreamEnded, StreamHeader, TrackName
from edgerec.clock import SECOND_NS, SystemClock
from edgerec.config import Config, TrackConfig
from edgerec.engine.copying import write_committed, write_turns
from edgerec.engine.housekeeping import SPARE_MEMORY, Housekeeping
from edgerec.engine.plan import Plan
from edgerec.engine.recovery import recover_and_tell
from edgerec.engine.session_turns import SessionTurns, build_session_turns
from edgerec.session.timeline import SessionTimeline
from edgerec.stamps import ReplayStamps, stamp_now
from edgerec.store.publish import FilePublished
from edgerec.store.records.sidecar_reader import DescribedSession, read_sidecar
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recording import Recording
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, history_frames
from edgerec.wire.trace import TraceError, open_input

log = logging.getLogger(__name__)

STEP_NS: Final = 1 * SECOND_NS  # of input between two writes; history holds it many times over
OTHER_TRACK_NS: Final = 1 * SECOND_NS  # a device that starts this much later begins with a gap
MAX_HOLES_S: Final = 600.0
"""Maximum silence where no input has anything, in addition to the length of the audio."""
END_OF_INPUT: Final = "end of input"
UNPLACED_S: Final = 1.0  # of an input: what its end and a resampler round off is far less
UNPLACED_SHARE: Final = 0.01  # its crystal's error is ten times less
STOPPED: Final = "stopped before the end of the input"


class ReplayError(Exception):
    """Input that can't be replayed, or only in part; what came before the error is published."""


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
        times, its stamps leave a hole longer than `MAX_HOLES_S` allows, or the replay was stopped.
        All that could be read before is published.
    TraceError, OSError
        An input is neither a trace nor a WAV file, or can't be opened.
    StoreError
        `storage.root` can't be used.
    """
    streams = {name: open_input(path, name) for name, path in inputs.items()}
    damage: list[str] = []
    with StorageRoot(config.storage.root) as root:
        session = _ReplayedSession(_only(config, inputs), root, on_published)
        first_ns: int | None = None
        for at_ns, track, delivery in in_order(streams):
            first_ns = at_ns if first_ns is None else first_ns
            passed_s, audio_s = (at_ns - first_ns) / SECOND_NS, session.audio_s
            if passed_s - audio_s > audio_s + MAX_HOLES_S:
                damage.append(
                    f"{inputs[track]}: a block's stamp is {passed_s:.0f} s after the first, with "
                    f"only {audio_s:.0f} s of audio until then; the rest is left out, or most of "
                    "the recording would be silence: take both inputs from one trace, or cut them "
                    "there"
                )
                break
            if stopped():
                damage.append(STOPPED)
                break
            if isinstance(delivery, StreamEnded) and delivery.detail != END_OF_INPUT:
                damage.append(delivery.detail)
            session.deliver(at_ns, track, delivery)
            on_progress(session.seconds)
        if damage and not session.can_begin:
            raise ReplayError("; ".join(damage))  # not that there is no audio: why there is none
        session.finish()
        damage += [
            f"{inputs[track]}: {lost_s:.1f} s of its audio have no place in the session: the "
            "arrival times in its blocks can't be true"
            for track, lost_s in session.unplaced_s().items()
        ]
    if damage:
        raise ReplayError("; ".join(damage))


def in_order(
    streams: Mapping[TrackName, Iterator[StreamHeader | Block]],
) -> Iterator[tuple[int, TrackName, Delivery]]:
    """Merge streams in order of arrival, each with its end; yields (arrived_ns, track, delivery).

    A header comes with the block after it. Damaged input ends at the damage.
    """
    timed = (_timed(name, stream) for name, stream in streams.items())
    return heapq.merge(*timed, key=lambda entry: entry[0])


def _timed(
    track: TrackName, stream: Iterator[StreamHeader | Block]
) -> Iterator[tuple[int, TrackName, Delivery]]:
    at_ns = 0
    headers: list[StreamHeader] = []
    why = END_OF_INPUT
    try:
        for message in stream:
            if isinstance(message, StreamHeader):
                headers = [message]
                continue
            at_ns = max(at_ns, message.arrived_ns)
            yield from ((at_ns, track, header) for header in headers)
            headers = []
            yield at_ns, track, message
    except TraceError as error:
        log.error("input is damaged track=%s why=%r", track, str(error))  # noqa: TRY400
        why = str(error)
    yield at_ns, track, StreamEnded(GapReason.SOURCE, why)


class _ReplayedSession:
    """One session over recorded input."""

    def __init__(
        self, config: Config, root: StorageRoot, on_published: Callable[[FilePublished], None]
    ) -> None:
        self._plan = plan = Plan.of(config)
        self._root = root
        self._on_published = on_published
        self._record: DescribedSession | None = None  # once it is published
        self._delivered_s: dict[TrackName, float] = defaultdict(float)
        self._synchronizer = Synchronizer(plan.tracks, late_s=plan.late_s, drift_memory={})
        self._first: dict[TrackName, tuple[StreamHeader, int]] = {}
        self._timeline: SessionTimeline | None = None
        self._recording: Recording | None = None
        self._turns: SessionTurns | None = None
        self._held: list[tuple[TrackName, StreamEnded]] = []  # ends before the session began
        self._settled_ns: int | None = None
        self._step_ns = 0
        self._house = Housekeeping([SPARE_MEMORY])

    @property
    def seconds(self) -> float:
        """Length of the session that is done, in seconds."""
        timeline = self._timeline
        return 0.0 if timeline is None else timeline.history.committed / timeline.rate

    @property
    def audio_s(self) -> float:
        """Length of audio delivered by the input with the most of it, in seconds."""
        return max(self._delivered_s.values(), default=0.0)

    @property
    def can_begin(self) -> bool:
        """Whether there is a session, or audio that could make one."""
        in_hand = self._synchronizer.first_instants_ns(settled=False)
        return self._timeline is not None or bool(in_hand)

    def deliver(self, at_ns: int, track: TrackName, delivery: Delivery) -> None:
        """Take in a delivery that arrived at `at_ns`."""
        if at_ns > self._step_ns + STEP_NS:
            self._advance(at_ns)  # nothing came meanwhile, and history has only so much room
        if self._timeline is None and isinstance(delivery, StreamEnded):
            self._held.append((track, delivery))  # what is in hand has no place yet
            return
        self._synchronizer.deliver(track, delivery)
        if isinstance(delivery, Block):
            header = self._synchronizer.header(track)
            assert header is not None
            self._delivered_s[track] += delivery.frames / header.sample_rate
        if isinstance(delivery, StreamHeader):
            self._first.setdefault(track, (delivery, at_ns))
            self._check_clocks()
        if self._timeline is None and self._may_begin(at_ns):
            self._begin()
        if at_ns >= self._step_ns:
            self._step_ns = at_ns + STEP_NS
            self._advance(at_ns)
            self._house.step(at_ns)

    def finish(self) -> None:
        """Publish everything."""
        if self._timeline is None:
            self._begin()
        assert self._timeline is not None
        assert self._recording is not None
        self._timeline.stop = self._synchronizer.finish()
        self._timeline.reports = self._synchronizer.report()
        self._write(self._recording, self._timeline)
        self._recording.finish("stop")

    def unplaced_s(self) -> dict[TrackName, float]:
        """Return, by input, the seconds of audio that no gap and no count accounts for."""
        timeline, record = self._timeline, self._record
        assert timeline is not None
        assert record is not None
        lost = {}
        for track, delivered_s in self._delivered_s.items():
            gaps = sum(record.gaps[track].values())
            known = record.frames - gaps + timeline.reports[track].late_frames
            lost_s = delivered_s - known / timeline.rate
            if lost_s > UNPLACED_S + UNPLACED_SHARE * delivered_s:
                lost[track] = lost_s
        return lost

    def _note(self, published: FilePublished) -> None:
        if published.kind == "session":
            record = read_sidecar(published.sidecar)
            assert isinstance(record, DescribedSession)
            self._record = record
        self._on_published(published)

    def _may_begin(self, at_ns: int) -> bool:
        settled = self._synchronizer.first_instants_ns(settled=True)
        if settled and self._settled_ns is None:
            self._settled_ns = at_ns
        if len(settled) == len(self._synchronizer.tracks):
            return True
        return self._settled_ns is not None and at_ns - self._settled_ns >= OTHER_TRACK_NS

    def _begin(self) -> None:
        instants = self._synchronizer.first_instants_ns(settled=False)
        if not instants:
            raise ReplayError("the inputs have no audio: nothing to replay")
        epoch_ns = math.floor(min(instants.values()))
        rate = self._plan.session.rate({n: h for n, (h, _) in self._first.items()})
        history = History(history_frames(rate, self._plan.session.history_s))
        header, first_ns = next(
            (first for first in self._first.values() if first[0].utc_ns),
            next(iter(self._first.values())),
        )
        clock = SystemClock()
        stamps = ReplayStamps(epoch_ns, rate, header, first_ns, fallback_utc_ns=clock.read().utc_ns)
        self._synchronizer.begin(epoch_ns, rate, history)
        self._timeline = SessionTimeline(rate, history, stamps, self._synchronizer.report())
        recover_and_tell(self._root, stamp_now(clock), self._note)
        self._recording = Recording(
            self._root,
            self._root.open_session(self._plan.config.kiosk),
            # A trace's clock will not be known any better.
            replace(self._plan.form(rate), utc_wait_s=0),
            stamps,
            self._note,
        )
        if self._plan.turns.wanted:
            self._turns = turns = build_session_turns(self._plan.turns, self._timeline)
            self._timeline.turns, self._timeline.gate = turns.board, turns.gate
        for track, end in self._held:
            self._synchronizer.deliver(track, end)

    def _advance(self, at_ns: int) -> None:
        timeline, recording = self._timeline, self._recording
        if timeline is None or recording is None:
            return
        more = True
        while more:
            more = self._synchronizer.advance(at_ns)
            timeline.reports = self._synchronizer.report()
            self._write(recording, timeline)

    def _write(self, recording: Recording, timeline: SessionTimeline) -> None:
        over = self._turns is not None and self._turns.advance()  # first: it says what is written
        write_committed(recording, timeline, last=over)
        if self._turns is not None:
            write_turns(recording, timeline, self._turns.board, last=over)

    def _check_clocks(self) -> None:
        clocks = {name: (header.clock, header.boot_id) for name, (header, _) in self._first.items()}
        if len(set(clocks.values())) > 1:
            told = ", ".join(f"{n}: {c} of boot {b or '(none)'}" for n, (c, b) in clocks.items())
            raise ReplayError(
                f"the inputs have no clock in common ({told}): take both from the same trace, "
                "or convert both to WAV, so that they begin together"
            )


def _only(config: Config, inputs: Mapping[TrackName, Path]) -> Config:
    """Return the configuration with the tracks of the inputs, and no other."""

    def track(name: TrackName, configured: TrackConfig) -> TrackConfig:
        if name not in inputs:
            return replace(configured, source="none")
        # What was fed has pauses in the recording too.
        return replace(configured, source="feed" if configured.source == "feed" else "portaudio")

    tracks = config.tracks
    return replace(
        config,
        tracks=replace(tracks, user=track("user", tracks.user), bot=track("bot", tracks.bot)),
    )
