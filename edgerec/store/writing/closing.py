"""Closes and publishes what is left of one chunk in the work folder.

A chunk that was cut short is reduced to the frames that can be relied upon and closed as its writer
would have closed it; a closed one is published. Each step can be interrupted anywhere and repeated.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgerec.audio import Stamp, TimelineFrame, TrackName
from edgerec.store import disk
from edgerec.store.disk import disk_step
from edgerec.store.publish import FilePublished, Find, fingerprint, place
from edgerec.store.records.gap_map import Levels, TrackLedger, gaps_between
from edgerec.store.records.naming import FORMS, WAV_SUFFIX, Format, What, work_name
from edgerec.store.records.sidecar import ChunkFacts, EndReason
from edgerec.store.records.sidecar_reader import DescribedFile, SidecarError, read_sidecar
from edgerec.store.root import StorageRoot
from edgerec.store.writing.chunk import FinishedChunk, finished_chunk
from edgerec.store.writing.journal import (
    Closing,
    JournalContent,
    JournalError,
    Opening,
    append_closing,
    read_journal,
)
from edgerec.store.writing.wav import HEADER_BYTES, max_wav_frames, parse_wav_header, repair_wav
from edgerec.wire.blocks import SAMPLE_BYTES

LAGS_S: Final = 10.0
"""Maximum by which one file of a chunk may be shorter than another: what is written between two
syncs. One that is shorter still is damaged, and the others are not cut to its length; nor to that
of a track that has nothing."""

_PIECE_FRAMES: Final = 65536  # read at once to measure levels: 256 KiB of stereo


@dataclass(frozen=True, slots=True)
class CutChunk:
    """How to treat a chunk that was cut short."""

    reason: EndReason
    recovered: bool
    now: Stamp
    """Current time. What was written during this boot the kernel still has, though never synced."""
    durable_frames: int | None = None
    """Maximum number of frames to rely on; None: all that the journal and the kernel guarantee."""


def close_leftover(root: StorageRoot, journal: Path, cut: CutChunk) -> JournalContent:
    """Cut a chunk's files to what can be relied upon, and close its journal.

    Returns
    -------
    The journal's new content. `closing` is None where no audio can be relied upon.

    Raises
    ------
    JournalError
        The journal does not describe its chunk.
    StoreError
        The disk fails; do it again.
    """
    content = read_journal(journal)
    if content.closing is not None:
        return content
    opening = content.opening
    left = {
        what: root.work / work_name(opening.key(what), WAV_SUFFIX) for what in opening.layout.files
    }
    left = {what: path for what, path in left.items() if disk.is_there(path)}
    held = {what: _frames(content, what, path, cut) for what, path in left.items()}
    least = max(held.values(), default=0) - round(LAGS_S * opening.layout.sample_rate)
    if held.get(opening.layout.main) != 0:  # else it was cut short in its first moment
        least = max(least, 1)
    left = {what: path for what, path in left.items() if held[what] >= least}
    frames = min((held[what] for what in left), default=0)
    if frames == 0:
        return content
    closing = _close(content, left, frames, cut)
    append_closing(journal, closing)
    return JournalContent(opening, content.changes, closing, content.durable_frames)


def _frames(content: JournalContent, what: What, audio: Path, cut: CutChunk) -> int:
    """Return how many frames of a file can be relied upon."""
    opening = content.opening
    frame_bytes = SAMPLE_BYTES * len(opening.layout.channels(what))
    with disk_step("reading", audio), audio.open("rb") as file:
        head = file.read(HEADER_BYTES)
        size_bytes = file.seek(0, os.SEEK_END)
    frames = max(0, size_bytes - HEADER_BYTES) // frame_bytes
    if frames > max_wav_frames(len(opening.layout.channels(what))):
        raise JournalError(f"{audio} is longer than a WAV file can be")
    for limit in (content.durable_frames, cut.durable_frames):
        frames = frames if limit is None else min(frames, limit)
    if opening.stamp.boot_id == cut.now.boot_id:
        return frames  # the kernel has outlived the recording: it has every byte in its place
    try:
        return min(frames, parse_wav_header(head).frames)  # as of the last sync
    except ValueError:
        return 0  # never synced, or the first page is lost


def _close(
    content: JournalContent, left: Mapping[What, Path], frames: int, cut: CutChunk
) -> Closing:
    """Cut what is left to the frames that every file has, durably, and put together its facts."""
    opening = content.opening
    layout = opening.layout
    for what, path in left.items():
        repair_wav(path, layout.sample_rate, len(layout.channels(what)), frames)
        disk.sync_file(path)
    stop = TimelineFrame(opening.start + frames)
    levels = {}
    for track in layout.tracks:
        gaps = gaps_between(content.changes[track], stop)
        recorded = frames - sum(gap.frames for gap in gaps)
        levels[track] = _levels(content, track, left, recorded)
    return Closing(
        end_reason=cut.reason,
        recovered=cut.recovered,
        frames=frames,
        stamp=opening.stamp,
        files=dict.fromkeys(left, "wav"),
        reports=opening.reports,
        late_frames=dict.fromkeys(layout.tracks, 0),  # only known to the process that is gone
        levels=levels,
        # It continued, as far as is known.
        turn=opening.turn and replace(opening.turn, speech_end=stop).within(opening.start, stop),
    )


def _levels(
    content: JournalContent, track: TrackName, left: Mapping[What, Path], recorded: int
) -> Levels:
    """Measure a track in any file that has it to itself; a mix has both."""
    for what, path in left.items():
        names = content.opening.layout.channels(what)
        if track in names:
            return _measure(path, len(names), names.index(track)).levels(recorded)
    return Levels(None, None, 0)


def _measure(path: Path, channels: int, channel: int) -> TrackLedger:
    ledger = TrackLedger()
    piece_bytes = _PIECE_FRAMES * SAMPLE_BYTES * channels
    with disk_step("reading", path), path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while piece := file.read(piece_bytes):
            samples = np.frombuffer(piece, dtype="<i2")[channel::channels]
            ledger.add(TimelineFrame(0), samples, np.zeros(len(samples), dtype=np.uint8))
    return ledger


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of publishing a closed chunk; only its journal is left."""

    opening: Opening
    facts: ChunkFacts
    files: Mapping[What, Format]
    published: tuple[FilePublished, ...]
    """The files that were published now."""
    completed: Mapping[What, Path]
    """The files for which only the final name was missing."""

    @property
    def placed(self) -> frozenset[What]:
        """The files that have their final name now: nothing else of them is needed."""
        return frozenset(self.completed) | {one.what for one in self.published}


def publish_leftover(
    root: StorageRoot,
    journal: Path,
    now: Stamp,
    *,
    begun_before: bool,
    find: Find = lambda key: None,
) -> Settled:
    """Publish a closed chunk.

    Parameters
    ----------
    now
        Current time: the wall clock may be better known than when the chunk was recorded.
    begun_before
        Whether some of it may be published already.
    find
        Searches all folders for a published file. Called only if the wall clock was not trusted
        then, because the time in the name may be another one.

    Raises
    ------
    JournalError
        The chunk is not closed, or its journal does not describe it.
    SidecarError
        An audio file is not what its published sidecar says.
    StoreError
        The disk fails; do it again.
    """
    content = read_journal(journal)
    if content.closing is None:
        raise JournalError(f"{journal} does not say how its chunk ends")
    chunk = finished_chunk(content, content.closing, now)
    completed = {}
    left: dict[What, Format] = dict(chunk.files)
    if begun_before:
        search = (lambda key: None) if content.closing.stamp.utc_trusted else find
        for what, form in chunk.files.items():
            audio = root.work / work_name(chunk.opening.key(what), FORMS[form].suffix)
            path = _published_before(root, chunk, what, audio, search)
            if path is not None:
                completed[what] = path
            if not disk.is_there(audio):
                del left[what]
    for what in left:
        if left[what] == "wav":
            _check_length(root.work / work_name(chunk.opening.key(what), WAV_SUFFIX), chunk.facts)
    published = FinishedChunk(chunk.opening, chunk.facts, left).publish(root)
    return Settled(chunk.opening, chunk.facts, chunk.files, tuple(published), completed)


def _check_length(audio: Path, facts: ChunkFacts) -> None:
    with disk_step("reading", audio), audio.open("rb") as file:
        head = file.read(HEADER_BYTES)
    try:
        frames = parse_wav_header(head).frames
    except ValueError as error:
        raise JournalError(f"{audio}: {error}") from error
    if frames != facts.frames:
        raise JournalError(f"{audio} has {frames} frames, but its journal says {facts.frames}")


def _published_before(
    root: StorageRoot, chunk: FinishedChunk, what: What, audio: Path, find: Find
) -> Path | None:
    """Finish an interrupted publish; return where the audio is, if this call moved it."""
    final = chunk.sidecar(what, root)
    draft = root.work / final.name
    if disk.is_there(draft):
        with disk_step("deleting", draft):
            draft.unlink()  # it is begun again
    sidecar = final if disk.is_there(final) else find(chunk.opening.key(what))
    return _complete(audio, sidecar) if sidecar is not None and disk.is_there(audio) else None


def _complete(audio: Path, sidecar: Path) -> Path:
    """Finish a publish that was interrupted between naming the sidecar and naming the audio."""
    described = read_sidecar(sidecar)
    held = fingerprint(audio)
    if not isinstance(described, DescribedFile) or held != (described.bytes, described.sha256):
        raise SidecarError([f"{audio} is not what {sidecar} describes"])
    disk.sync_folder(sidecar.parent)
    # A move between folders may leave both names: a link and unlink that was interrupted, or a
    # rename whose unsynced half a power cut has undone.
    if disk.is_there(described.path) and fingerprint(described.path) == held:
        with disk_step("deleting", audio):
            audio.unlink()
    else:
        place(audio, described.path)
    return described.path


def delete_leftover(
    root: StorageRoot, opening: Opening, files: Collection[What] | None = None
) -> list[Path]:
    """Delete what is left of a chunk, the journal last.

    Files with a similar name beside it are kept: one may be the only copy of something.

    Parameters
    ----------
    files
        The files that have just been published; None: no audio of the chunk can be relied upon.
    """
    layout = opening.layout
    suffixes = {WAV_SUFFIX, FORMS[layout.format].suffix}
    keys = [opening.key(what) for what in (layout.files if files is None else files)]
    if files is None:  # an encoded file counts for nothing beside its WAV file only
        keys = [key for key in keys if disk.is_there(root.work / work_name(key, WAV_SUFFIX))]
    rest = [root.work / work_name(key, one) for key in keys for one in sorted(suffixes)]
    deleted = [path for path in (*rest, root.work / opening.journal_name) if disk.is_there(path)]
    for path in deleted:
        with disk_step("deleting", path):
            path.unlink()  # if a power cut brings it back, recovery sees what has become of it
    return deleted
