"""Checks that the files of a session follow each other without an undeclared hole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from edgerec.audio import TrackName
from edgerec.store.records.layout import CHUNK
from edgerec.store.records.sidecar_reader import DescribedFile, DescribedSession

IssueSeverity = Literal["error", "info"]


@dataclass(frozen=True, slots=True)
class Issue:
    """Something a person should know of one file."""

    path: Path
    problem: str
    severity: IssueSeverity = "error"


def absence(path: Path, problem: str, *, picked_up: bool) -> Issue:
    """Return the finding about a file that is not here.

    Parameters
    ----------
    picked_up
        Whether sync jobs take files away from here.
    """
    if picked_up:
        return Issue(path, f"{problem}: picked up, or deleted by retention", "info")
    return Issue(path, problem)


def check_order(files: Sequence[DescribedFile], *, picked_up: bool) -> Iterator[Issue]:
    """Check the files of one kind of one session, in the order of their sequence numbers.

    Turns are numbered but do not tile; everything else does. See `absence` for `picked_up`.
    """
    first = files[0]
    tiles = first.turn is None
    if _gone_before(first):
        yield Issue(first.path, "the session's earlier files are not here", "info")
    for before, after in pairwise(files):
        if tiles:
            yield from _check_neighbours(before, after, picked_up=picked_up)
            continue
        if after.key.sequence != before.key.sequence + 1:
            yield absence(after.path, _missing_numbers(before, after), picked_up=picked_up)
        if after.start < before.stop:
            yield Issue(after.path, _too_early(before, after))


def _check_neighbours(
    before: DescribedFile, after: DescribedFile, *, picked_up: bool
) -> Iterator[Issue]:
    declared = after.start - after.missing_before
    consecutive = after.key.sequence == before.key.sequence + 1
    if after.start < before.stop:
        yield Issue(after.path, _too_early(before, after))
    elif declared == before.stop:
        if after.missing_before:
            frames = after.missing_before
            yield Issue(after.path, f"{frames} frames before it could not be written", "info")
        elif not consecutive:
            yield absence(after.path, _missing_numbers(before, after), picked_up=picked_up)
    elif declared == before.start - before.missing_before:
        # The previous file was not safely published when this one began, but was later.
        yield Issue(before.path, "was recovered from what the next file declares missing", "info")
    elif not consecutive:
        yield absence(after.path, _missing_numbers(before, after), picked_up=picked_up)
    else:
        yield Issue(
            after.path,
            f"begins at frame {after.start} with {after.missing_before} declared missing, but "
            f"{before.path.name} ends at {before.stop}",
        )


def _gone_before(first: DescribedFile) -> bool:
    """Whether earlier files than the first one here are missing."""
    if first.turn is not None:
        return first.key.sequence > 0
    return first.start != first.missing_before


def _too_early(before: DescribedFile, after: DescribedFile) -> str:
    return f"begins at frame {after.start}, before {before.path.name} ends"


def _missing_numbers(before: DescribedFile, after: DescribedFile) -> str:
    first, last = before.key.sequence + 1, after.key.sequence - 1
    numbers = f"{first:06d}" if first == last else f"{first:06d} to {last:06d}"
    return f"sequence number {numbers} before it is missing"


def check_closing(
    closing: DescribedSession, kinds: Sequence[Sequence[DescribedFile]], *, picked_up: bool
) -> Iterator[Issue]:
    """Check a session's closing record against its files, each kind in order."""
    for files in kinds:
        first, last = files[0], files[-1]
        what = first.key.what
        if last.stop > closing.frames:
            problem = f"the session ends at frame {closing.frames}, {last.path.name} at {last.stop}"
            yield Issue(closing.path, problem)
        if _gone_before(first):
            continue  # earlier files were taken away: what is left can't be counted
        # A record made by recovery also counts what recovery published before it.
        here = [one for one in files if closing.recovered or not one.recovered]
        counted = closing.files.get(what, 0)
        if len(here) != counted:
            problem = f"counts {counted} {what} files, {len(here)} are here"
            gone = picked_up and len(here) < counted
            yield absence(closing.path, problem, picked_up=gone)
        elif what == CHUNK and len(here) == len(files):
            yield from _check_totals(closing, files)
    here_whats = {files[0].key.what for files in kinds}
    for what, counted in closing.files.items():
        if counted and what not in here_whats:
            problem = f"counts {counted} {what} files, none is here"
            yield absence(closing.path, problem, picked_up=picked_up)


def _check_totals(closing: DescribedSession, chunks: Sequence[DescribedFile]) -> Iterator[Issue]:
    held = sum(chunk.frames for chunk in chunks)
    if held + closing.missing != closing.frames:
        yield Issue(
            closing.path,
            f"says {closing.frames} frames and {closing.missing} of them missing, "
            f"the chunks hold {held}",
        )
    for track, totals in closing.gaps.items():
        here = _gap_frames(chunks, track)
        if here != totals:
            problem = f"{track}'s gaps are {dict(totals)} frames, those of the chunks {here}"
            yield Issue(closing.path, problem)


def _gap_frames(chunks: Sequence[DescribedFile], track: TrackName) -> dict[str, int]:
    totals: dict[str, int] = {}
    for chunk in chunks:
        for reason, frames in chunk.gaps.get(track, {}).items():
            totals[reason] = totals.get(reason, 0) + frames
    return totals
