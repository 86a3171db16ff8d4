"""The state that the threads of one session share: its history, its clocks, its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edgerec.audio import EchoReport, Stamp, StreamHeader, TimelineFrame, TrackName, TrackReport
from edgerec.clock import Clock, boot_id
from edgerec.session.speech_gate import SpeechGate
from edgerec.session.turn_board import TurnBoard
from edgerec.store.records.sidecar import EndReason
from edgerec.sync.history import History

_SECOND_NS: Final = 1_000_000_000
RAW_ERROR_PPM: Final = 100.0  # of the machine's own crystal, by which we count back


MAX_CUTS: Final = 1000  # not yet made, while the disk stalls: eight a second for two minutes


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk ends before this frame, full or not."""

    frame: TimelineFrame
    reason: EndReason


@dataclass(slots=True)
class SessionTimeline:
    """One session, from the recorder thread that fills it to the writer thread that reads it.

    Every field is written by the recorder thread alone, each by one assignment, except where noted;
    from `cuts`, which are in order, the writer thread removes those that are done.
    """

    rate: int
    """Sampling rate of the timeline, in Hz."""
    history: History
    stamp_of: Callable[[TimelineFrame], Stamp]
    reports: Mapping[TrackName, TrackReport]
    """Report on each track as of the last commit."""
    stop: TimelineFrame | None = None
    """Frame at which the session ends; None while it is in progress."""
    turns: TurnBoard | None = None
    """Turns of the session; None: none are looked for."""
    gate: SpeechGate | None = None
    """Gate that decides which of the user's frames are recorded; None: all are."""
    end_reason: EndReason = "stop"
    cuts: deque[Cut] = field(default_factory=deque)
    echo: EchoReport = field(default_factory=EchoReport)
    """Echo of the bot in the microphone; the one field that the turn thread writes."""
    mixed: TimelineFrame = field(default=TimelineFrame(0))
    """Frame before which the mix was sent to its listeners."""
    mix_header: StreamHeader = field(init=False)
    """Header of the mix's stream for its listeners."""

    def __post_init__(self) -> None:
        """Make the header of the mix, once for all listeners."""
        self.mix_header = StreamHeader(self.rate, 1, "mix", "edgerec", "monotonic_raw")

    def known(self) -> dict[TrackName, TrackReport]:
        """Return the current report on each track; for any thread."""
        known = dict(self.reports)
        if "user" in known:
            known["user"] = replace(known["user"], echo=self.echo)
        return known

    def cut(self, frame: int, reason: EndReason) -> None:
        """End a chunk before a frame that is not committed yet; for the recorder thread.

        During a very long disk stall chunks may end elsewhere: at most `MAX_CUTS` wait.
        """
        if len(self.cuts) < MAX_CUTS:
            self.cuts.append(Cut(TimelineFrame(frame), reason))


def stamp_now(clock: Clock) -> Stamp:
    """Return the current time on all clocks."""
    now = clock.read()
    return Stamp(now.utc_ns, now.utc_trusted, now.utc_error_ms, now.monotonic_ns, boot_id())


class LiveStamps:
    """Stamps of a session in progress: reads the clocks each time.

    After a correction of the wall clock, frames are stamped by the corrected clock. A session ends
    where the machine is suspended: all its frames lie before that.
    """

    def __init__(self, clock: Clock, epoch_ns: int, rate: int) -> None:
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._rate = rate
        self._boot_id = boot_id()
        self._slept_ns = clock.read().slept_ns

    def __call__(self, frame: TimelineFrame) -> Stamp:
        """Return the time of a frame by the clocks as they are now."""
        now = self._clock.read()
        ago_ns = now.raw_ns - (self._epoch_ns + frame * _SECOND_NS // self._rate)
        error_ms = now.utc_error_ms
        if error_ms is not None:
            error_ms = round(error_ms + abs(ago_ns) * 1e-6 * RAW_ERROR_PPM * 1e-6, 3)
        return Stamp(
            utc_ns=now.utc_ns - ago_ns - (now.slept_ns - self._slept_ns),
            utc_trusted=now.utc_trusted,
            utc_error_ms=error_ms,
            monotonic_ns=now.monotonic_ns - ago_ns,
            boot_id=self._boot_id,
        )


class ReplayStamps:
    """Stamps of a replayed session: what the trace says, on the trace's own clock.

    Parameters
    ----------
    header, first_arrived_ns
        Header and first arrival of the stream that has the wall clock: `utc_ns` is its time then.
    fallback_utc_ns
        The wall clock at the epoch, for input that has none.
    """

    def __init__(
        self,
        epoch_ns: int,
        rate: int,
        header: StreamHeader,
        first_arrived_ns: int,
        fallback_utc_ns: int,
    ) -> None:
        self._epoch_ns = epoch_ns
        self._rate = rate
        self._boot_id = header.boot_id
        self._epoch_utc_ns = (
            header.utc_ns - first_arrived_ns + epoch_ns if header.utc_ns else fallback_utc_ns
        )

    def __call__(self, frame: TimelineFrame) -> Stamp:
        """Return the time of a frame by the trace's clock, which is never trusted."""
        since_ns = frame * _SECOND_NS // self._rate
        return Stamp(
            utc_ns=self._epoch_utc_ns + since_ns,
            utc_trusted=False,
            utc_error_ms=None,
            monotonic_ns=self._epoch_ns + since_ns,
            boot_id=self._boot_id,
        )
