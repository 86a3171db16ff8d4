"""Writes a session's timeline to files: cut exactly, published one by one, closed at the end.

Chunks tile the session: each begins on the frame after the last, and frames that no chunk holds
are declared by the next one (`missing_before`) and by the session's closing record. Turns are
further files of the same frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import TRACKS, Span, TimelineFrame, TrackName, TrackReport
from edgerec.stamps import settle
from edgerec.store.disk import StoreError
from edgerec.store.publish import FilePublished
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Session
from edgerec.store.records.sidecar import EndReason
from edgerec.store.root import StorageRoot
from edgerec.store.writing.chunk import OpenChunk
from edgerec.store.writing.closing import Settled
from edgerec.store.writing.file_sequence import FileSeries
from edgerec.store.writing.rotation import Cutting, StampOf, chunk_stop
from edgerec.store.writing.session_summary import Ended, Totals, close_session, remember
from edgerec.store.writing.turn_files import TurnFiles
from edgerec.store.writing.wav import max_wav_frames

log = logging.getLogger(__name__)

PUBLISHED_AT_ONCE: Final = 4  # of those that have waited: audio is written in between


@dataclass(frozen=True, slots=True)
class RecordingForm:
    """What a session is written as."""

    layout: Layout
    cutting: Cutting
    utc_wait_s: float = 0.0
    """How long from the session's start finished files wait for a wall clock that can be
    trusted."""
    turn_audio: bool = False
    """Whether turns are written to files, too; from the session's begin to its end."""

    @property
    def utc_wait_frames(self) -> int:
        """The wait for a wall clock in frames."""
        return round(self.utc_wait_s * self.layout.sample_rate)

    def below_ceiling(self) -> RecordingForm:
        """Return the same with files that a WAV header can still describe."""
        widest = max(len(self.layout.channels(what)) for what in self.layout.files)
        ceiling = min(self.cutting.max_file_frames, max_wav_frames(widest))
        return replace(self, cutting=replace(self.cutting, max_file_frames=ceiling))


class Recording:
    """The files of one session; for one thread, which may wait for the disk.

    Parameters
    ----------
    root
        The storage root, acquired and recovered.
    stamp_of
        Returns the time of a frame by the clocks as known when it is called.
    on_published
        Called with each file as soon as it is published.
    publishes
        Whether a chunk is published when it ends. False: that is left to `publish_due`, so that
        publishing can fail without keeping audio from being written.

    Raises
    ------
    StoreError
        From every method, when the disk fails. To continue, call `resume` until it succeeds, then
        `write` from the `position` of that moment.
    """

    def __init__(
        self,
        root: StorageRoot,
        session: Session,
        form: RecordingForm,
        stamp_of: StampOf,
        on_published: Callable[[FilePublished], None],
        *,
        publishes: bool = True,
    ) -> None:
        self._root = root
        self._session = session
        self._form = form.below_ceiling()
        layout = form.layout
        self._stamp_of = stamp_of
        self._on_published = on_published
        self._publishes = publishes
        self._chunks = FileSeries(root, session, layout, stamp_of)
        self.turns: Mapping[TrackName, TurnFiles] = {
            speaker: TurnFiles(FileSeries(root, session, layout.of_turns(speaker), stamp_of))
            for speaker in (TRACKS if form.turn_audio else ())
        }
        """The turns of each speaker; empty without `turn_audio`."""
        self._series = (self._chunks, *(files.series for files in self.turns.values()))
        self.closed = False
        """Whether the session is complete and all of it published."""
        self._position = TimelineFrame(0)
        self._reports: Mapping[TrackName, TrackReport] = dict.fromkeys(TRACKS, TrackReport())
        self._told_to_wait = False
        self._totals = Totals(session, layout.sample_rate, stamp_of(TimelineFrame(0)))
        self._remembered = False
        with suppress(StoreError):  # recording takes no more than the work folder
            self._remember()

    @property
    def session(self) -> Session:
        """The session whose files these are."""
        return self._session

    @property
    def position(self) -> TimelineFrame:
        """The next frame to be written."""
        return self._position

    @property
    def missing_frames(self) -> int:
        """Number of the session's frames that no chunk will hold."""
        return self._chunks.missing(self._position)

    @property
    def durable(self) -> TimelineFrame:
        """The frame before which every frame survives a power cut, or is missing."""
        return self._chunks.durable_stop

    @property
    def resumes_at(self) -> TimelineFrame:
        """The frame from which audio is needed next: `position`, unless the disk has failed."""
        return self._chunks.resumes_at(self._position)

    @property
    def quarantined(self) -> tuple[str, ...]:
        """The latest names in `quarantine/` of what could not be published."""
        return tuple(name for series in self._series for name in series.quarantined)

    @property
    def unpublished(self) -> int:
        """Number of finished chunks and turns that are not published yet."""
        return sum(series.waiting for series in self._series)

    def write(self, span: Span, reports: Mapping[TrackName, TrackReport]) -> None:
        """Append a span of any length, publishing each chunk that it completes.

        Parameters
        ----------
        span
            Begins at `position`.
        reports
            Current report on each track; `late_frames` counts from the session's start.
        """
        if span.start != self._position:
            raise ValueError(f"span begins at frame {span.start}, expected {self._position}")
        written = 0
        while written < span.frames:
            chunk = self._chunks.current or self._open_chunk()
            rate = self._form.layout.sample_rate
            stop = chunk_stop(self._form.cutting, rate, chunk.start, self._position, self._stamp_of)
            room = min(stop - self._position, span.frames - written)
            piece = slice(written, written + room)
            fitting = chunk.fits(span.reasons[:, piece])
            piece = slice(written, written + fitting)
            if fitting:
                self._chunks.write(span.pcm[:, piece], span.reasons[:, piece])
            written += fitting
            self._position = chunk.position
            self._reports = chunk.reported(reports)
            if fitting < room:
                self._end_chunk("rotate")  # its gaps are as many as one sidecar may list
            elif self._position == stop:
                self._end_chunk("full")

    def sync(self) -> None:
        """Make all that was written durable: the chunk first, so that no turn gets ahead of it."""
        for series in self._series:
            series.sync()

    def rotate(self, reason: EndReason) -> None:
        """End the chunk in progress here; the next one begins on the next frame."""
        if self._chunks.current is not None:
            self._end_chunk(reason)

    def reshape(self, form: RecordingForm) -> None:
        """Continue in another form at the same rate; where files change by it, the chunk ends here.

        Turns, those in progress and later ones, keep their layout.
        """
        form, before = form.below_ceiling(), self._form
        if (form.layout, form.cutting) != (before.layout, before.cutting):
            self.rotate("reload")
        self._form = form
        self._chunks.layout = form.layout

    def skip_to(self, frame: TimelineFrame) -> None:
        """Leave out the frames from `position` up to `frame`: they could not be written.

        The chunk in progress ends here (`disk`), and the next one declares what is missing.
        """
        if frame < self._position:
            raise ValueError(f"can't skip back from frame {self._position} to {frame}")
        self.rotate("disk")
        self._position = frame

    def resume(self) -> None:
        """Keep what is durable of a chunk that a failure has cut short; continue right after it.

        Frames that were written but not yet durable must be written again: `position` goes back.
        """
        self._chunks.resume(self._position)
        for turns in self.turns.values():
            turns.resume(self._position)
        chunk = self._chunks.current  # continues, if something else has failed
        self._position = self._chunks.held_stop if chunk is None else chunk.position

    def publish_due(self) -> None:
        """Publish a few finished chunks, unless they have to wait for the wall clock."""
        if not self._remembered:
            self._remember()
        if self._utc_known() or self.ended:
            for series in self._series:
                for _ in range(PUBLISHED_AT_ONCE):
                    series.publish_next(self._position, self._count)
        elif not self._told_to_wait and any(series.waiting for series in self._series):
            self._told_to_wait = True
            log.warning("files wait for the wall clock to be synchronised, see storage.utc_wait_s")

    def finish(self, reason: EndReason) -> None:
        """Publish everything, and the record that closes the session."""
        self.end(reason)
        while self.unpublished:
            self.publish_due()
        self.close()

    @property
    def ended(self) -> bool:
        """Whether all of its files are whole, and only have to be published."""
        return self._totals.ended is not None

    def end(self, reason: EndReason) -> None:
        """End the session here: all of its files are whole, and only have to be published."""
        if self.ended:
            return
        self.rotate(reason)
        for turns in self.turns.values():
            turns.stop(self._reports)
        start = settle(self._totals.start, self._stamp_of(TimelineFrame(0)))
        ended = Ended(self._position, self._stamp_of(self._position), reason)
        self._totals = replace(self._totals, start=start, ended=ended)
        self._remembered = False

    def close(self) -> None:
        """Publish the record that closes a session which has ended and been published."""
        totals = self._totals
        assert totals.ended is not None
        ended = totals.ended
        if not self._remembered:
            self._remember()  # the name under which the record is begun
        self._on_published(
            close_session(self._root, totals, ended.frames, ended.stamp, ended.reason)
        )
        self.closed = True
        self._root.leave_session(self._session)

    def leave(self) -> None:
        """Leave what is still to be published of an ended session to recovery."""
        if not self._remembered:
            with suppress(StoreError):  # costs what its record says of its end
                self._remember()
        self._root.leave_session(self._session)

    def _open_chunk(self) -> OpenChunk:
        missing = self._position - self._chunks.held_stop
        return self._chunks.begin(self._position, missing, self._reports)

    def _end_chunk(self, reason: EndReason) -> None:
        self._chunks.end(self._reports, reason)
        if self._publishes:
            self.publish_due()

    def _utc_known(self) -> bool:
        waited = self._position >= self._form.utc_wait_frames
        return waited or self._stamp_of(self._position).utc_trusted

    def _count(self, settled: Settled) -> None:
        for published in settled.published:
            self._on_published(published)
        if not self._totals.counts(settled.facts):
            self._totals = self._totals.plus(settled.facts, settled.files)
            self._remembered = False
        if not self._remembered:
            self._remember()  # before its journal goes

    def _remember(self) -> None:
        remember(self._root, self._totals)
        self._remembered = True
