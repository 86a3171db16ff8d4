"""Recorded input in place of devices, and its time in place of the machine's."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from edgerec.audio import (
    Block,
    Delivery,
    GapReason,
    SourceState,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.clock import SECOND_NS, ClockReading, SystemClock
from edgerec.config import Config, TrackConfig
from edgerec.session.timeline import SessionTimeline
from edgerec.store.records.sidecar_reader import DescribedSession
from edgerec.wire.trace import TraceError

log = logging.getLogger(__name__)

END_OF_INPUT: Final = "end of input"
MAX_HOLES_S: Final = 600.0
"""Maximum silence where no input has anything, in addition to the length of the audio."""
UNPLACED_S: Final = 1.0  # of an input: what its end and a resampler round off is far less
UNPLACED_SHARE: Final = 0.01  # its crystal's error is ten times less

Arrival = tuple[int, TrackName, Delivery]
"""A delivery, its track, and the instant at which it arrived, by the stamps of the input."""


class ReplayError(Exception):
    """Input that can't be replayed, or only in part; what came before the error is published."""


class Inputs:
    """The streams of some tracks, merged in order of arrival, each with its end; read once.

    A header comes with the block after it. Damaged input ends at the damage.

    Raises
    ------
    ReplayError
        They have no clock in common.
    """

    def __init__(self, streams: Mapping[TrackName, Iterator[StreamHeader | Block]]) -> None:
        self.headers: dict[TrackName, tuple[int, StreamHeader]] = {}
        """First header of each track that has audio, and its arrival."""
        self._runs: list[Iterator[Arrival]] = []
        for track, stream in streams.items():
            run = _arrivals(track, stream)
            at_ns, _, first = arrival = next(run)
            if isinstance(first, StreamHeader):
                self.headers[track] = at_ns, first
            self._runs.append(itertools.chain((arrival,), run))
        self._check_clocks()

    def __iter__(self) -> Iterator[Arrival]:
        """Yield what arrives, in order."""
        return heapq.merge(*self._runs, key=lambda arrival: arrival[0])

    def _check_clocks(self) -> None:
        clocks = {
            name: (header.clock, header.boot_id) for name, (_, header) in self.headers.items()
        }
        if len(set(clocks.values())) > 1:
            told = ", ".join(f"{n}: {c} of boot {b or '(none)'}" for n, (c, b) in clocks.items())
            raise ReplayError(
                f"the inputs have no clock in common ({told}): take both from the same trace, "
                "or convert both to WAV, so that they begin together"
            )


def _arrivals(track: TrackName, stream: Iterator[StreamHeader | Block]) -> Iterator[Arrival]:
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


def only(config: Config, inputs: Collection[TrackName]) -> Config:
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
        # A trace's clock will not be known any better.
        storage=replace(config.storage, utc_wait_s=0),
    )


class ReplaySource:
    """A track's source that delivers what it is given; see `sources.Source`."""

    unhurried = False
    held_since_ns = None
    state = SourceState("running", 0, "", 0)

    def __init__(self) -> None:
        self._given: list[Delivery] = []

    def give(self, delivery: Delivery) -> None:
        """Have this delivered with the next step of the capture loop."""
        self._given.append(delivery)

    def fileno(self) -> None:
        """Return None: nothing has to be waited for."""

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return what was given since the last time."""
        given, self._given = self._given, []
        return given

    def close(self) -> None:
        """Do nothing: the input is its opener's."""


class ReplayClock:
    """The inputs' clock, which stands still until it is set. Its wall clock is never trusted.

    Parameters
    ----------
    headers
        First headers with their arrivals; the first of those with a wall clock says what UTC was.
    """

    def __init__(self, headers: Collection[tuple[int, StreamHeader]]) -> None:
        self.at_ns = 0
        """The present, by the stamps of the inputs."""
        first = min(headers, key=lambda one: (not one[1].utc_ns, one[0]), default=None)
        self._boot_id = first[1].boot_id if first else ""
        self._utc_ahead_ns = first[1].utc_ns - first[0] if first and first[1].utc_ns else None

    def begin(self, epoch_ns: int) -> None:
        """Take the machine's wall clock as that of the epoch, if the inputs have none."""
        if self._utc_ahead_ns is None:
            self._utc_ahead_ns = SystemClock().read().utc_ns - epoch_ns

    def now_ns(self) -> int:
        """Return the present."""
        return self.at_ns

    def read(self) -> ClockReading:
        """Return the present on every clock: there is none but the inputs' own, and UTC."""
        utc_ns = self.at_ns + (self._utc_ahead_ns or 0)
        return ClockReading(
            self.at_ns,
            self.at_ns,
            utc_ns,
            utc_trusted=False,
            utc_error_ms=None,
            boot_id=self._boot_id,
        )


class StampCheck:
    """Checks by what the inputs have delivered whether their stamps can be true."""

    def __init__(self, tracks: Collection[TrackName]) -> None:
        self.open = set(tracks)
        """The tracks whose input has not ended."""
        self._rates: dict[TrackName, int] = {}
        self._delivered_s: dict[TrackName, float] = {}
        self._first_ns: int | None = None

    def take(self, track: TrackName, delivery: Delivery) -> None:
        """Count a delivery."""
        match delivery:
            case StreamHeader():
                self._rates[track] = delivery.sample_rate
            case Block():
                before_s = self._delivered_s.get(track, 0.0)
                self._delivered_s[track] = before_s + delivery.frames / self._rates[track]
            case StreamEnded():
                self.open.discard(track)

    def hole(self, at_ns: int) -> str | None:
        """Return why what arrives at `at_ns` can't be true; None: it can."""
        self._first_ns = at_ns if self._first_ns is None else self._first_ns
        passed_s = (at_ns - self._first_ns) / SECOND_NS
        audio_s = max(self._delivered_s.values(), default=0.0)
        if passed_s - audio_s <= audio_s + MAX_HOLES_S:
            return None
        return (
            f"a block's stamp is {passed_s:.0f} s after the first, with only {audio_s:.0f} s of "
            "audio until then; the rest is left out, or most of the recording would be silence: "
            "take both inputs from one trace, or cut them there"
        )

    def unplaced(self, timeline: SessionTimeline, record: DescribedSession) -> dict[TrackName, str]:
        """Return which inputs have audio that no gap and no count of the session accounts for."""
        lost = {}
        for track, delivered_s in self._delivered_s.items():
            gaps = sum(record.gaps[track].values())
            known = record.frames - gaps + timeline.reports[track].late_frames
            lost_s = delivered_s - known / timeline.rate
            if lost_s > UNPLACED_S + UNPLACED_SHARE * delivered_s:
                lost[track] = (
                    f"{lost_s:.1f} s of its audio have no place in the session: the arrival times "
                    "in its blocks can't be true"
                )
        return lost
