"""How does a session's timeline become files: cut exactly, published one by one, closed at the end.

Chunks tile the session: each begins on the frame after the last, and frames that no file holds
are declared by the next one (`missing_before`) and by the session's closing record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import TRACKS, Span, TimelineFrame, TrackName, TrackReport
from edgerec.store.chunk import OpenChunk, settle
from edgerec.store.cutting import Cutting, StampOf, chunk_stop
from edgerec.store.described import SidecarError
from edgerec.store.disk import StoreError
from edgerec.store.journal import JournalError, Opening
from edgerec.store.layout import CHUNK, Layout
from edgerec.store.leftover import Cut, close_leftover, delete_leftover, publish_leftover
from edgerec.store.naming import JOURNAL_SUFFIX, FileKey, Session, work_name
from edgerec.store.publish import Published
from edgerec.store.root import StorageRoot
from edgerec.store.sidecar import EndReason
from edgerec.store.totals import Totals, close_session, remember
from edgerec.store.wav import max_wav_frames

log = logging.getLogger(__name__)

PUBLISHED_AT_ONCE: Final = 4  # of those that have waited: audio goes on being written in between


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A chunk in progress of which a failure has left no more than is on the disk."""

    opening: Opening
    durable_frames: int


class Recording:
    """The files of one session; for one thread, which may wait for the disk.

    Parameters
    ----------
    root
        Acquired, and recovered.
    stamp_of
        What the clocks, as known when it is called, say of the instant of a frame.
    on_published
        Called with each file as soon as it is published.
    utc_wait_s
        How long from the session's start finished chunks wait for a wall clock that can be
        trusted.

    Raises
    ------
    StoreError
        From every method, when the disk fails. The recording can go on: `resume` until that
        succeeds, and `write` from the `position` of then.
    """

    def __init__(
        self,
        root: StorageRoot,
        session: Session,
        layout: Layout,
        cutting: Cutting,
        stamp_of: StampOf,
        on_published: Callable[[Published], None],
        *,
        utc_wait_s: float = 0.0,
    ) -> None:
        self._root = root
        self._session = session
        self._layout = layout
        widest = max(len(layout.channels(what)) for what in layout.files)
        ceiling = min(cutting.max_file_frames, max_wav_frames(widest))
        self._cutting = replace(cutting, max_file_frames=ceiling)
        self._stamp_of = stamp_of
        self._on_published = on_published
        self._utc_wait_frames = round(utc_wait_s * layout.sample_rate)
        self._chunk: OpenChunk | None = None
        self._abandoned: Abandoned | None = None
        self._failed = False  # once: what is published may have been begun before
        self._position = TimelineFrame(0)
        self._held_stop = TimelineFrame(0)  # behind the last frame of a finished chunk
        self._held_frames = 0
        self._sequence = 0
        self._unpublished = 0  # the first sequence number that still is
        self._reports: Mapping[TrackName, TrackReport] = dict.fromkeys(TRACKS, TrackReport())
        self._told_to_wait = False
        self._totals = Totals(session, layout.sample_rate, stamp_of(TimelineFrame(0)))
        remember(root, self._totals)

    @property
    def position(self) -> TimelineFrame:
        """The frame that is to be written next."""
        return self._position

    @property
    def missing_frames(self) -> int:
        """How many of the session's frames no file will hold."""
        before = self._position if self._chunk is None else self._chunk.start
        return before - self._held_frames

    @property
    def unpublished(self) -> int:
        """How many finished chunks wait to be published."""
        in_progress = 0 if self._chunk is None else 1
        return self._sequence - in_progress - self._unpublished

    def write(self, span: Span, reports: Mapping[TrackName, TrackReport]) -> None:
        """Append a span of any length, publishing each chunk that it completes.

        Parameters
        ----------
        span
            Begins at `position`.
        reports
            What is known of each track now; `late_frames` counts from the session's start.
        """
        if span.start != self._position:
            raise ValueError(f"span begins at frame {span.start}, expected {self._position}")
        written = 0
        while written < span.frames:
            chunk = self._chunk or self._open_chunk()
            stop = chunk_stop(
                self._cutting, self._layout.sample_rate, chunk.start, self._position, self._stamp_of
            )
            room = min(stop - self._position, span.frames - written)
            piece = slice(written, written + room)
            fitting = chunk.fits(span.reasons[:, piece])
            piece = slice(written, written + fitting)
            with self._leaving_failures_behind():
                if fitting:
                    chunk.write(span.pcm[:, piece], span.reasons[:, piece])
            written += fitting
            self._position = chunk.position
            self._reports = chunk.reported(reports)
            if fitting < room:
                self._end_chunk(chunk, "rotate")  # its gaps are as many as one sidecar may list
            elif self._position == stop:
                self._end_chunk(chunk, "full")

    def sync(self) -> None:
        """Make all that was written durable."""
        with self._leaving_failures_behind():
            if self._chunk is not None:
                self._chunk.sync()

    def rotate(self, reason: EndReason) -> None:
        """End the chunk in progress here; the next begins on the very next frame."""
        if self._chunk is not None:
            self._end_chunk(self._chunk, reason)

    def skip_to(self, frame: TimelineFrame) -> None:
        """Leave out the frames from `position` up to `frame`: they could not be written.

        The chunk in progress ends here (`disk`), and the next one declares what is missing.
        """
        if frame < self._position:
            raise ValueError(f"can't skip back from frame {self._position} to {frame}")
        self.rotate("disk")
        self._position = frame

    def resume(self) -> None:
        """Keep what is durable of a chunk that a failure has cut short, and go on right behind it.

        Frames that were written and not yet durable are to be written again: `position` goes back.
        """
        self._failed = True
        if self._abandoned is not None:
            self._settle(self._abandoned)
            self._abandoned = None
        self._position = self._held_stop

    def _settle(self, abandoned: Abandoned) -> None:
        opening = abandoned.opening
        journal = self._root.work / opening.journal_name
        now = self._stamp_of(self._position)
        cut = Cut("disk", recovered=False, now=now, durable_frames=abandoned.durable_frames)
        # Of frames that were never durable nothing is kept, not even the journal has to be whole.
        content = close_leftover(self._root, journal, cut) if abandoned.durable_frames else None
        if content is None or content.closing is None:
            delete_leftover(self._root, journal)
            self._sequence = opening.sequence
        else:
            self._hold(opening.start, content.closing.frames)
            self._sequence = opening.sequence + 1

    def publish_due(self) -> None:
        """Publish finished chunks, a few, unless they have to wait for the wall clock."""
        if self._utc_known():
            for _ in range(PUBLISHED_AT_ONCE):
                self._publish_next()
        elif not self._told_to_wait and self._unpublished < self._sequence:
            self._told_to_wait = True
            log.warning("files wait for the wall clock to be synchronised, see storage.utc_wait_s")

    def finish(self, reason: EndReason) -> None:
        """Publish everything, and the record that closes the session."""
        self.rotate(reason)
        while self._unpublished < self._sequence:
            self._publish_next()
        start = settle(self._totals.start, self._stamp_of(TimelineFrame(0)))
        totals = replace(self._totals, start=start)
        end = self._stamp_of(self._position)
        self._on_published(close_session(self._root, totals, self._position, end, reason))

    def _open_chunk(self) -> OpenChunk:
        opening = Opening(
            session=self._session,
            sequence=self._sequence,
            layout=self._layout,
            start=self._position,
            missing_before=self._position - self._held_stop,
            stamp=self._stamp_of(self._position),
            reports=self._reports,
        )
        self._root.check()  # or a missing mount has the boot disk filled
        try:
            self._chunk = OpenChunk(self._root, opening)
        except StoreError:
            self._abandoned = Abandoned(opening, 0)
            raise
        self._sequence += 1
        return self._chunk

    def _end_chunk(self, chunk: OpenChunk, reason: EndReason) -> None:
        with self._leaving_failures_behind():
            chunk.finish(self._stamp_of(chunk.start), self._reports, reason)
        self._chunk = None
        self._hold(chunk.start, chunk.position - chunk.start)
        self.publish_due()

    def _hold(self, start: TimelineFrame, frames: int) -> None:
        """Count a finished chunk."""
        self._held_stop = TimelineFrame(start + frames)
        self._held_frames += frames

    def _utc_known(self) -> bool:
        return self._position >= self._utc_wait_frames or self._stamp_of(self._position).utc_trusted

    def _publish_next(self) -> None:
        """Publish the first finished chunk that is not published yet, if there is one."""
        stop = self._sequence if self._chunk is None else self._chunk.opening.sequence
        if self._unpublished >= stop:
            return
        key = FileKey(self._session.id, self._unpublished, CHUNK)
        journal = self._root.work / work_name(key, JOURNAL_SUFFIX)
        now = self._stamp_of(self._position)
        try:
            settled = publish_leftover(self._root, journal, now, begun_before=self._failed)
        except (JournalError, SidecarError) as error:
            raise StoreError("publishing", journal, str(error)) from error
        for published in settled.published:
            self._on_published(published)
        if settled.facts.sequence >= self._totals.next_sequence:
            totals = self._totals.plus(settled.facts, settled.files)
            remember(self._root, totals)  # before its journal goes
            self._totals = totals
        delete_leftover(self._root, journal)
        self._unpublished += 1

    @contextmanager
    def _leaving_failures_behind(self) -> Iterator[None]:
        """Drop the chunk in progress when the disk fails, as it is."""
        try:
            yield
        except StoreError:
            if self._chunk is not None:
                self._chunk.abandon()
                self._abandoned = Abandoned(self._chunk.opening, self._chunk.durable_frames)
                self._chunk = None
            raise
