"""The sequence of a session's files of one kind, from the first to the last.

At most one is in progress; finished ones are published in order. After a disk failure the durable
part of the file in progress is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import Stamp, TimelineFrame, TrackName, TrackReport
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import JOURNAL_SUFFIX, FileKey, Session, work_name
from edgerec.store.records.sidecar import EndReason, TurnFacts
from edgerec.store.root import StorageRoot
from edgerec.store.writing.chunk import OpenChunk
from edgerec.store.writing.closing import (
    CutChunk,
    Settled,
    close_leftover,
    delete_leftover,
    publish_leftover,
)
from edgerec.store.writing.journal import Opening
from edgerec.store.writing.quarantine import group_of, is_at_fault, set_aside
from edgerec.store.writing.rotation import StampOf

log = logging.getLogger(__name__)

MAX_TRIES: Final = 19  # two minutes, as the writer thread waits in between
MAX_TOLD: Final = 10  # names


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A file in progress that a failure has reduced to what is on the disk."""

    opening: Opening
    durable_frames: int


class FileSeries:
    """The chunks of a session, or the turns of one speaker; for one thread.

    Parameters
    ----------
    stamp_of
        Returns the time of a frame by the clocks as known when it is called.

    Raises
    ------
    StoreError
        From every method, when the disk fails. To continue, call `resume` until it succeeds, then
        `begin` after the `held_stop` of that moment.
    """

    def __init__(
        self, root: StorageRoot, session: Session, layout: Layout, stamp_of: StampOf
    ) -> None:
        self._root = root
        self._session = session
        self.layout = layout
        """Layout of the next file."""
        self._stamp_of = stamp_of
        self._abandoned: Abandoned | None = None
        self._sequence = 0
        self._unpublished = 0  # the first sequence number that still is
        self._begun: Stamp | None = None  # when publishing it began, if that has failed since
        self._tries = 0  # failed tries
        self.quarantined: tuple[str, ...] = ()
        """The latest names in `quarantine/` of what could not be published."""
        self.current: OpenChunk | None = None
        """The file in progress."""
        self.held_stop = TimelineFrame(0)
        """The frame after the last one of a finished file."""
        self.held_frames = 0
        """Number of frames of all finished files."""

    @property
    def waiting(self) -> int:
        """Number of finished files that are not published."""
        return self._sequence - self._unpublished - (self.current is not None)

    @property
    def durable_stop(self) -> TimelineFrame:
        """The frame after the last one that survives a power cut."""
        file, cut = self.current, self._abandoned
        if file is not None:
            return TimelineFrame(file.start + file.durable_frames)
        if cut is not None and cut.durable_frames:
            return TimelineFrame(cut.opening.start + cut.durable_frames)
        return self.held_stop

    def resumes_at(self, position: TimelineFrame) -> TimelineFrame:
        """Return the frame needed next: `position`, unless a failure has cut a file short."""
        return position if self._abandoned is None else self.durable_stop

    def missing(self, position: TimelineFrame) -> int:
        """Return how many frames before `position` no file holds, or will hold after `resume`."""
        if self.current is not None:
            return self.current.start - self.held_frames
        cut_short = 0 if self._abandoned is None else self._abandoned.durable_frames
        return self.resumes_at(position) - self.held_frames - cut_short

    def begin(
        self,
        start: TimelineFrame,
        missing_before: int,
        reports: Mapping[TrackName, TrackReport],
        turn: TurnFacts | None = None,
    ) -> OpenChunk:
        """Begin the next file; none is in progress."""
        opening = Opening(
            session=self._session,
            sequence=self._sequence,
            layout=self.layout,
            start=start,
            missing_before=missing_before,
            stamp=self._stamp_of(start),
            reports=reports,
            turn=turn,
        )
        self._root.check()  # else a missing mount would fill the boot disk
        try:
            self.current = OpenChunk(self._root, opening)
        except StoreError:
            self._abandoned = Abandoned(opening, 0)
            raise
        self._sequence += 1
        return self.current

    def write(self, pcm: NDArray[np.int16], reasons: NDArray[np.uint8]) -> None:
        """Append frames of all tracks, both (tracks, frames), to the file in progress."""
        assert self.current is not None
        with self._leaving_failures_behind():
            self.current.write(pcm, reasons)

    def sync(self) -> None:
        """Make all that was written durable."""
        with self._leaving_failures_behind():
            if self.current is not None:
                self.current.sync()

    def end(
        self,
        reports: Mapping[TrackName, TrackReport],
        reason: EndReason,
        turn: TurnFacts | None = None,
    ) -> None:
        """Finish the file in progress."""
        file = self.current
        assert file is not None
        with self._leaving_failures_behind():
            file.finish(self._stamp_of(file.start), reports, reason, turn)
        self.current = None
        self._hold(file.start, file.position - file.start)

    def resume(self, now: TimelineFrame) -> bool:
        """Keep what is durable of a file that a failure has cut short.

        Returns
        -------
        Whether there was such a file, and something of it is kept.
        """
        abandoned = self._abandoned
        if abandoned is None:
            return False
        opening = abandoned.opening
        journal = self._root.work / opening.journal_name
        stamp = self._stamp_of(now)
        cut = CutChunk("disk", recovered=False, now=stamp, durable_frames=abandoned.durable_frames)
        # Frames that were never durable are dropped; then not even the journal has to be whole.
        content = close_leftover(self._root, journal, cut) if abandoned.durable_frames else None
        kept = None if content is None else content.closing
        if kept is None:
            delete_leftover(self._root, opening)
            self._sequence = opening.sequence
        else:
            self._hold(opening.start, kept.frames)
            self._sequence = opening.sequence + 1
        self._abandoned = None
        return kept is not None

    def publish_next(self, now: TimelineFrame, count: Callable[[Settled], None]) -> None:
        """Publish the first finished file that is not published yet, if there is one.

        Parameters
        ----------
        now
            The timeline frame of the present.
        count
            Called with what was published, before the work folder forgets it.
        """
        if not self.waiting:
            return
        key = FileKey(self._session.id, self._unpublished, self.layout.main)
        journal = self._root.work / work_name(key, JOURNAL_SUFFIX)
        begun_before, stamp = self._begun is not None, self._begun or self._stamp_of(now)
        self._begun = stamp  # under the same name the next time: there it is found
        try:
            settled = publish_leftover(self._root, journal, stamp, begun_before=begun_before)
        except Exception as error:  # what is under ready/ must not keep audio from being written
            reason = str(error) or repr(error)
            self._tries += 1
            group = group_of(self._root, journal)
            if self._tries < MAX_TRIES or not is_at_fault(error, (journal, *group)):
                if isinstance(error, StoreError):
                    raise
                raise StoreError("publishing", journal, reason) from error
            self._set_aside(group, reason)
        else:
            count(settled)
            delete_leftover(self._root, settled.opening, settled.placed)
        self._unpublished += 1
        self._begun, self._tries = None, 0

    def _set_aside(self, group: Sequence[Path], reason: str) -> None:
        """Quarantine a chunk that can't be published; the session's record counts it as lost."""
        for path in set_aside(self._root, group, reason):
            log.error("beyond repair, kept in quarantine file=%s why=%r", path.name, reason)
            self.quarantined = (*self.quarantined, path.name)[-MAX_TOLD:]

    def _hold(self, start: TimelineFrame, frames: int) -> None:
        """Count a finished file."""
        self.held_stop = TimelineFrame(start + frames)
        self.held_frames += frames

    @contextmanager
    def _leaving_failures_behind(self) -> Iterator[None]:
        """Drop the file in progress when the disk fails, as it is."""
        try:
            yield
        except StoreError:
            if self.current is not None:
                self.current.abandon()
                self._abandoned = Abandoned(self.current.opening, self.current.durable_frames)
                self.current = None
            raise
