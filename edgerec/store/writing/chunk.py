"""A chunk or turn in progress: its files, its journal, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, Stamp, TimelineFrame, TrackName, TrackReport
from edgerec.stamps import retimed, settle
from edgerec.store import disk
from edgerec.store.publish import FilePublished, fingerprint, publish, sidecar_path
from edgerec.store.records.gap_map import Levels, TrackLedger, gaps_between
from edgerec.store.records.naming import FORMS, WAV_SUFFIX, Format, What, partition, work_name
from edgerec.store.records.sidecar import (
    ChunkFacts,
    EndReason,
    FileFacts,
    TrackFacts,
    TurnFacts,
    describe_file,
    encode,
    kind_of,
)
from edgerec.store.root import StorageRoot
from edgerec.store.writing.compressed import CompressedWriter, tag_date
from edgerec.store.writing.journal import Closing, Journal, JournalContent, Opening
from edgerec.store.writing.tags import Tags
from edgerec.store.writing.wav import WavWriter, tag_wav


@dataclass(frozen=True, slots=True)
class FinishedChunk:
    """A chunk whose files are whole in the work folder and wait to be published.

    `finished_chunk` makes one from a journal, whichever process wrote that and when.
    """

    opening: Opening
    facts: ChunkFacts
    files: Mapping[What, Format]
    """The files to be published, each with its format: all of the layout's, or after a crash what
    is left."""

    def publish(self, root: StorageRoot) -> list[FilePublished]:
        """Publish its files, the chunk itself first; its journal stays."""
        folder = root.make_folders(*partition(self.facts.session.kiosk, self.facts.stamp.utc_ns))
        # Before each file is read to its end: an hour's would be, again and again.
        disk.check_writable(folder)
        for what, form in self.files.items():
            disk.check_free(self.sidecar(what, root).with_suffix(FORMS[form].suffix))
        return [self._publish(what, root) for what in self.files]

    def sidecar(self, what: What, root: StorageRoot) -> Path:
        """Return where the sidecar of one of its files goes."""
        facts = self.facts
        return sidecar_path(
            root.ready, facts.session.kiosk, facts.stamp.utc_ns, self.opening.key(what)
        )

    def _publish(self, what: What, root: StorageRoot) -> FilePublished:
        facts = self.facts
        key = self.opening.key(what)
        form = FORMS[self.files[what]]
        audio = root.work / work_name(key, form.suffix)
        self._tag(what, audio)
        final = self.sidecar(what, root).with_suffix(form.suffix)
        sidecar = describe_file(facts, what, FileFacts(final.name, form, *fingerprint(audio)))
        return FilePublished(
            path=final,
            sidecar=publish(audio, encode(sidecar), root.work, final.parent, final.stem),
            session=facts.session.id,
            kind=kind_of(what),
            what=what,
            sequence=facts.sequence,
            start_frame=facts.start,
            frames=facts.frames,
            end_reason=facts.end_reason,
            turn=None if facts.turn is None else facts.turn.number,
            exchange=None if facts.turn is None else facts.turn.exchange,
        )

    def _tag(self, what: What, audio: Path) -> None:
        """Write the time into the file itself; it may not have been known before now."""
        tags = tags_of(self.opening, what, self.facts.stamp)
        if self.files[what] == "wav":
            tag_wav(audio, tags.bext())
        else:
            tag_date(audio, tags.date)


def finished_chunk(content: JournalContent, closing: Closing, now: Stamp) -> FinishedChunk:
    """Return the chunk that a closed journal describes.

    Parameters
    ----------
    now
        What the clocks say at this moment.
    """
    opening = content.opening
    stop = TimelineFrame(opening.start + closing.frames)
    facts = ChunkFacts(
        session=opening.session,
        sequence=opening.sequence,
        layout=opening.layout,
        start=opening.start,
        frames=closing.frames,
        missing_before=opening.missing_before,
        stamp=retimed(closing.stamp, now),
        end_reason=closing.end_reason,
        tracks={
            track: TrackFacts(
                closing.reports[track],
                closing.late_frames[track],
                closing.reports[track].refused_frames - opening.reports[track].refused_frames,
                tuple(gaps_between(content.changes[track], stop)),
                closing.levels[track],
            )
            for track in opening.layout.tracks
        },
        recovered=closing.recovered,
        turn=closing.turn,
    )
    return FinishedChunk(opening, facts, closing.files)


class OpenChunk:
    """A chunk in progress; not for more than one thread.

    Raises
    ------
    StoreError
        From every method, when the disk fails. Its files can't be relied upon from then on, and
        must not be synced again: `abandon` it.
    """

    def __init__(self, root: StorageRoot, opening: Opening) -> None:
        self.opening = opening
        self.start = opening.start
        self._ledgers = {track: TrackLedger() for track in opening.layout.tracks}
        self._residual_us: dict[TrackName, float] = {}
        layout = opening.layout
        self._writers: dict[What, WavWriter] = {}
        self._encoders: dict[What, CompressedWriter] = {}
        self._folder = root.work
        self.durable_frames = 0
        """Number of frames that survive a power cut."""
        self._sync_failed = False
        self._journal = Journal(self._folder, opening)
        try:
            for what in layout.files:
                path = root.work / work_name(opening.key(what), WAV_SUFFIX)
                channels = len(layout.channels(what))
                self._writers[what] = WavWriter(path, layout.sample_rate, channels)
                if layout.format != "wav":
                    self._encoders[what] = self._open_encoder(what, layout.format)
            disk.sync_folder(root.work)
        except disk.StoreError:
            self.abandon()
            raise

    @property
    def position(self) -> TimelineFrame:
        """The frame that comes next."""
        return TimelineFrame(self.start + self._writers[self.opening.layout.main].frames)

    def fits(self, reasons: NDArray[np.uint8]) -> int:
        """Return how many of these frames, (tracks, frames), the ledgers have room for."""
        return min(
            ledger.fits(self.position, reasons[TRACKS.index(track)])
            for track, ledger in self._ledgers.items()
        )

    def write(self, pcm: NDArray[np.int16], reasons: NDArray[np.uint8]) -> None:
        """Append frames of all tracks, both (tracks, frames)."""
        for track, ledger in self._ledgers.items():
            index = TRACKS.index(track)
            changes = ledger.add(self.position, pcm[index], reasons[index])
            self._journal.note(track, changes)  # before the audio it is about
        # The chunk itself comes last: its length is the position, so that it never exceeds what
        # all files hold.
        for what in reversed(self._writers):
            samples = self.opening.layout.samples(what, pcm)
            self._writers[what].write(samples)
            if what in self._encoders:
                self._encoders[what].write(samples)

    def reported(self, reports: Mapping[TrackName, TrackReport]) -> dict[TrackName, TrackReport]:
        """Return what is known of the tracks now, its bounds widened to hold for all the chunk."""
        worst = self._residual_us
        for track, report in reports.items():
            if report.residual_us is not None:
                worst[track] = max(report.residual_us, worst.get(track, 0.0))
        return {t: replace(report, residual_us=worst.get(t)) for t, report in reports.items()}

    def sync(self) -> None:
        """Make all that was written durable, the journal first."""
        self._sync_failed = True  # until it has not
        self._journal.sync()
        for writer in self._writers.values():
            writer.sync()
        self._sync_failed = False
        self.durable_frames = self.position - self.start

    def finish(
        self,
        stamp: Stamp,
        reports: Mapping[TrackName, TrackReport],
        end_reason: EndReason,
        turn: TurnFacts | None = None,
    ) -> FinishedChunk:
        """Make all of it durable and close it: it only remains to be published.

        Where there are compressed files, only they are left after this.

        Parameters
        ----------
        stamp
            Time of the chunk's first frame, as the clocks are known now.
        reports
            Reports on both tracks as of the chunk's end.
        turn
            The turn that it holds, as of its end.
        """
        self.sync()  # before the line that promises it
        for writer in self._writers.values():
            writer.close()
        for encoder in self._encoders.values():
            encoder.close()
            disk.sync_file(encoder.path)
        opening = self.opening
        closing = Closing(
            end_reason=end_reason,
            recovered=False,
            frames=self.position - self.start,
            stamp=settle(opening.stamp, stamp),
            files=dict.fromkeys(opening.layout.files, opening.layout.format),
            reports=reports,
            late_frames={
                track: reports[track].late_frames - opening.reports[track].late_frames
                for track in self._ledgers
            },
            levels={track: self._levels(track) for track in self._ledgers},
            turn=turn,
        )
        self._journal.end(closing)
        for what in self._encoders:
            with disk.disk_step("deleting", self._writers[what].path):
                self._writers[what].path.unlink()
        changes = {track: ledger.changes for track, ledger in self._ledgers.items()}
        return finished_chunk(JournalContent(opening, changes, closing, None), closing, stamp)

    def _levels(self, track: TrackName) -> Levels:
        ledger = self._ledgers[track]
        gaps = gaps_between(ledger.changes, self.position)
        return ledger.levels(self.position - self.start - sum(gap.frames for gap in gaps))

    def _open_encoder(self, what: What, form: Format) -> CompressedWriter:
        path = self._folder / work_name(self.opening.key(what), FORMS[form].suffix)
        return CompressedWriter(path, form, tags_of(self.opening, what, self.opening.stamp))

    def abandon(self) -> None:
        """Close the files as they are; recovery reads what the disk really holds."""
        # The failure that led here is being reported; a second one adds nothing.
        with suppress(OSError):
            self._journal.abandon(self.durable_frames if self._sync_failed else None)
        files: list[WavWriter | CompressedWriter] = [
            *self._writers.values(),
            *self._encoders.values(),
        ]
        for file in files:
            with suppress(OSError):
                file.abandon()


def tags_of(opening: Opening, what: What, stamp: Stamp) -> Tags:
    """Return the tags of one of a chunk's files, whose first frame has `stamp`."""
    layout = opening.layout
    return Tags(
        kiosk=opening.session.kiosk,
        key=opening.key(what),
        channels=layout.channels(what),
        sample_rate=layout.sample_rate,
        utc_ns=stamp.utc_ns,
    )
