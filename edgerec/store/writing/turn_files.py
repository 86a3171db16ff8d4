"""Writes the turns of one speaker to files while they are in progress.

A turn file is written, made durable, published and recovered like a chunk; its frames are those
of the chunks. What could not be written because of a failing disk is declared by the next file of
the turn (`missing_before`).
"""

from __future__ import annotations

from collections.abc import Mapping

from edgerec.audio import Span, TimelineFrame, TrackName, TrackReport, TurnPart
from edgerec.store.records.sidecar import EndReason, TurnFacts
from edgerec.store.writing.chunk import OpenChunk
from edgerec.store.writing.file_sequence import FileSeries


class TurnFiles:
    """Writes one turn part after the other; for the thread of its `series`.

    Raises
    ------
    StoreError
        From every method, when the disk fails. To continue, call `resume` until it succeeds, then
        `write` the same part from the `position` of that moment.
    """

    def __init__(self, series: FileSeries) -> None:
        self.series = series
        self._number: int | None = None
        self._files = 0  # of this turn, finished
        self._skipped = TimelineFrame(0)  # up to here, as it could not be written
        self._latest: TurnPart | None = None

    def position(self, part: TurnPart) -> TimelineFrame:
        """Return the next frame of the part to be written."""
        if self.series.current is not None:
            return self.series.current.position
        return max(part.start, self.series.held_stop, self._skipped)

    def write(self, part: TurnPart, span: Span, reports: Mapping[TrackName, TrackReport]) -> None:
        """Append a span of the part, of any length.

        Parameters
        ----------
        part
            The one that was written last, unless that has been finished.
        span
            Begins at `position`; of all tracks.
        reports
            Current report on each track.
        """
        position = self.position(part)
        if span.start != position:
            raise ValueError(f"span begins at frame {span.start}, expected {position}")
        self._latest = part
        written = 0
        while written < span.frames:
            file = self.series.current or self._begin(part, reports)
            room = span.frames - written
            fitting = file.fits(span.reasons[:, written:])
            piece = slice(written, written + min(fitting, room))
            if fitting:
                self.series.write(span.pcm[:, piece], span.reasons[:, piece])
            written += fitting
            file.reported(reports)
            if fitting < room:
                self._end("rotate", reports)  # its gaps are as many as one sidecar may list

    def skip_to(self, frame: TimelineFrame, reports: Mapping[TrackName, TrackReport]) -> None:
        """Leave out the frames up to `frame`: they could not be written."""
        if self.series.current is not None:
            self._end("disk", reports)
        self._skipped = frame

    def finish(self, part: TurnPart, reports: Mapping[TrackName, TrackReport]) -> None:
        """End the file of a part that has ended, and all of whose frames are written."""
        assert part.ended is not None
        self._latest = part
        if self.series.current is not None:
            self._end(part.ended, reports)

    def stop(self, reports: Mapping[TrackName, TrackReport]) -> None:
        """End the file in progress, if there is one: the session ends."""
        if self.series.current is not None:
            self._end("stop", reports)

    def resume(self, now: TimelineFrame) -> None:
        """Keep what is durable of a file that a failure has cut short."""
        self._files += self.series.resume(now)

    def _begin(self, part: TurnPart, reports: Mapping[TrackName, TrackReport]) -> OpenChunk:
        if part.number != self._number:
            self._number, self._files = part.number, 0
        start = self.position(part)
        missing = start - max(part.start, self.series.held_stop)
        return self.series.begin(start, missing, reports, self._facts(part))

    def _end(self, reason: EndReason, reports: Mapping[TrackName, TrackReport]) -> None:
        file, part = self.series.current, self._latest
        assert file is not None
        assert part is not None
        facts = self._facts(part).within(file.start, file.position)
        self.series.end(file.reported(reports), reason, facts)
        self._files += 1

    def _facts(self, part: TurnPart) -> TurnFacts:
        return TurnFacts(
            speaker=part.speaker,
            number=part.number,
            part=self._files,
            speech_start=part.speech_start,
            speech_end=part.speech_end,
            by=part.by,
            interrupted=part.interrupted,
            exchange=part.exchange,
        )
