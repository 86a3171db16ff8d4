"""Puts two devices on one timeline: deliveries in, committed frames of both tracks out.

The commit is the common watermark: everything before it is final on every track. A track that
is quiet is waited for `late_s`, then its silence is committed; it never holds the other back.
A track whose synchronisation fails starts over after a gap; the other one is unaffected.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from edgerec.audio import (
    TRACKS,
    Delivery,
    GapReason,
    StreamHeader,
    TimelineFrame,
    TrackName,
    TrackReport,
)
from edgerec.sync.history import History, HistoryError
from edgerec.sync.placement import Pauses, Placement
from edgerec.sync.track import TrackTimeline

STEP_S: Final = 5.0  # committed at once at most, so that other work is done while hours are filled


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """The synchronizer's settings of one track."""

    offset_ms: float = 0.0
    """Constant lateness of the device: its frames are placed earlier by this much."""
    continuous: bool = True
    """Whether the source delivers all the time; the pauses of one that does not are silence, not
    gaps."""


class Synchronizer:
    """Both tracks on one timeline; for the recorder thread only.

    Parameters
    ----------
    tracks
        The tracks that have a source; the others are silence with the reason `off`.
    late_s
        How long a quiet track is waited for.
    drift_memory
        Drift in ppm by device, from earlier runs and for later ones.
    """

    def __init__(
        self,
        tracks: Mapping[TrackName, TrackPlan],
        *,
        late_s: float,
        drift_memory: MutableMapping[str, float],
    ) -> None:
        self._plans = dict(tracks)
        self._late_s = late_s
        self._drift_memory = drift_memory
        self._tracks = {name: self._new_track(plan) for name, plan in tracks.items()}
        self._held_ns: dict[TrackName, int] = {}
        self._history: History | None = None
        self._pauses = Pauses()
        self._epoch_ns = 0
        self._rate = 0

    @property
    def history(self) -> History:
        """The ring of the session that has begun."""
        if self._history is None:
            raise ValueError("a synchronizer has no history before begin()")
        return self._history

    @property
    def tracks(self) -> tuple[TrackName, ...]:
        """The tracks that have a source."""
        return tuple(self._tracks)

    @property
    def continuous(self) -> tuple[TrackName, ...]:
        """The tracks whose source delivers all the time, once it is present."""
        return tuple(name for name, plan in self._plans.items() if plan.continuous)

    @property
    def longest_offset_ns(self) -> int:
        """Longest time after an instant until all working devices have begun to deliver it."""
        return round(1e6 * max([0.0, *(plan.offset_ms for plan in self._plans.values())]))

    def header(self, track: TrackName) -> StreamHeader | None:
        """Return the header of a track's open stream; None while there is none."""
        return self._tracks[track].header

    def first_instants_ns(self, *, settled: bool) -> dict[TrackName, float]:
        """Return when the oldest frame in hand was sampled, of each track that has one.

        Parameters
        ----------
        settled
            Only of tracks whose clock has seen enough to say so exactly.
        """
        instants = {}
        for name, track in self._tracks.items():
            with _costing_itself(track):
                instant = track.first_instant_ns(settled=settled)
                if instant is not None:
                    instants[name] = instant
        return instants

    def begin(self, epoch_ns: int, rate: int, history: History) -> None:
        """Start a timeline whose frame 0 is at `epoch_ns` on CLOCK_MONOTONIC_RAW.

        Frames in hand that were sampled since then are part of it.

        Parameters
        ----------
        rate
            Sampling rate of the timeline, in Hz.
        history
            New, and as long as `history_frames` says.
        """
        self._epoch_ns = epoch_ns
        self._rate = rate
        self._history = history
        self._pauses = Pauses()
        for name, track in self._tracks.items():
            track.begin(self._placement(name))

    def frame_at(self, instant_ns: int) -> TimelineFrame:
        """Return the timeline frame at an instant of CLOCK_MONOTONIC_RAW."""
        return TimelineFrame((instant_ns - self._epoch_ns) * self._rate // 1_000_000_000)

    def pause(self, instant_ns: int) -> TimelineFrame:
        """Pause: what is sampled from this instant on is silence on every track.

        Returns
        -------
        The first frame of the pause. It is not placed yet on any track; what is, was sampled
        before.
        """
        start = TimelineFrame(max(self.frame_at(instant_ns), *self._ends().values(), 0))
        self._pauses.begin(start)
        return start

    def resume(self, instant_ns: int) -> None:
        """End the pause: what is sampled from this instant on is recorded again."""
        self._pauses.end(TimelineFrame(max(self.frame_at(instant_ns), *self._ends().values(), 0)))

    def deliver(self, track: TrackName, delivery: Delivery) -> None:
        """Take in what a track's source delivered."""
        with _costing_itself(self._tracks[track], delivery):
            self._tracks[track].deliver(delivery)

    def note_held(self, track: TrackName, since_ns: int | None) -> None:
        """Take note that a source's audio from an instant on is held back for now.

        It is not overdue: the track stays as it was at that instant, and the other one waits.
        """
        if since_ns is None:
            self._held_ns.pop(track, None)
        else:
            self._held_ns[track] = since_ns

    def advance(self, now_ns: int) -> bool:
        """Place and commit what is decided or overdue at `now_ns`, at most one step of it.

        Returns
        -------
        Whether there is more to commit at once; do other work first.
        """
        now = self.frame_at(now_ns)
        before = self.history.committed
        limit = TimelineFrame(min(now, before + round(STEP_S * self._rate)))
        for name, track in self._tracks.items():
            asked_ns = min(now_ns, self._held_ns.get(name, now_ns))
            asked = self.frame_at(asked_ns)
            with _costing_itself(track):
                track.advance(asked, limit)
                continue
            # One that fails each time holds nobody back, either.
            track.pad(TimelineFrame(min(asked - math.ceil(self._late_s * self._rate), limit)))
        # A piece that reaches past a stop is in history whole, and committed up to the stop.
        self._commit(TimelineFrame(min(limit, *self._ends().values())))
        return before < self.history.committed and limit < now

    def replace(self, track: TrackName, plan: TrackPlan | None) -> None:
        """Give a track another source, whose first header is still to come; None: no source.

        What the previous source has delivered is placed; the other track is unaffected.
        """
        before = self._tracks.pop(track, None)
        self._plans.pop(track, None)
        self._held_ns.pop(track, None)
        if before is not None and self._history is not None:
            with _costing_itself(before):
                before.finish()
        if plan is None:
            return
        self._plans[track] = plan
        self._tracks[track] = after = self._new_track(plan)
        if self._history is not None:
            after.begin(self._placement(track))
        if before is not None:
            with _costing_itself(after):
                after.follow(before)

    def adjust(self, plans: Mapping[TrackName, TrackPlan], late_s: float) -> None:
        """Place the tracks by other offsets, or wait for them for another time, from now on."""
        self._late_s = late_s
        for name, track in self._tracks.items():
            track.late_s = late_s
            if plans[name].offset_ms != self._plans[name].offset_ms:
                self._plans[name] = plans[name]
                placement = None if self._history is None else self._placement(name)
                with _costing_itself(track):
                    track.move(plans[name].offset_ms, placement)

    def received(self, stop: TimelineFrame, now_ns: int) -> bool:
        """Whether every open track has delivered everything before `stop`."""
        for track in self._tracks.values():
            with _costing_itself(track):
                if not track.received(stop, self.frame_at(now_ns)):
                    return False
        return True

    def finish(self, stop: TimelineFrame | None = None) -> TimelineFrame:
        """End the timeline at `stop`, or where the longest track ends; return that frame.

        A track that ends earlier is padded: all tracks are of equal length.
        """
        for track in self._tracks.values():
            with _costing_itself(track):
                track.finish(stop)
        end = TimelineFrame(max(self._ends().values())) if stop is None else stop
        for track in self._tracks.values():
            track.pad(end)
        self._commit(end)
        return end

    def leave(self, stop: TimelineFrame) -> None:
        """Release the timeline that is finished at `stop`; another may `begin` there."""
        self._history = None
        for track in self._tracks.values():
            with _costing_itself(track):
                track.leave(stop)

    def report(self) -> dict[TrackName, TrackReport]:
        """Return a report on every track."""
        reports = dict.fromkeys(TRACKS, TrackReport())
        for name, track in self._tracks.items():
            with _costing_itself(track):
                reports[name] = track.report()
        return reports

    def _new_track(self, plan: TrackPlan) -> TrackTimeline:
        return TrackTimeline(
            late_s=self._late_s,
            offset_ms=plan.offset_ms,
            continuous=plan.continuous,
            drift_memory=self._drift_memory,
        )

    def _placement(self, name: TrackName) -> Placement:
        # What a late device delivers at an instant was sampled earlier.
        epoch_of_device_ns = self._epoch_ns + self._plans[name].offset_ms * 1e6
        index = TRACKS.index(name)
        return Placement(epoch_of_device_ns, self._rate, self.history, index, self._pauses)

    def _ends(self) -> dict[TrackName, TimelineFrame]:
        return {name: self.history.end(TRACKS.index(name)) for name in self._tracks}

    def _commit(self, stop: TimelineFrame) -> None:
        for index, name in enumerate(TRACKS):
            if name not in self._tracks:
                missing = stop - self.history.end(index)
                self.history.silence(index, max(missing, 0), GapReason.OFF)
        self.history.commit(stop)
        # Late audio from a pause is muted as well, for its neighbours' sake.
        self._pauses.forget(TimelineFrame(stop - self._rate))


@contextlib.contextmanager
def _costing_itself(track: TrackTimeline, delivery: Delivery | None = None) -> Iterator[None]:
    """Have a track whose synchronisation fails start over; a shared fault ends the process."""
    try:
        yield
    except (HistoryError, MemoryError):
        raise
    except Exception as error:
        track.start_over(error, delivery)


def history_frames(rate: int, keep_s: float) -> int:
    """Return the capacity of a ring that keeps `keep_s` of committed frames and a step ahead."""
    return math.ceil((keep_s + 2 * STEP_S) * rate)
