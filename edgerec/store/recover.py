"""What did a crash leave in the work folder, and what becomes of it?

Whatever holds audio is repaired and published (`recovered: true`, `end_reason: crash`), what is
empty is deleted, and the rest goes to `quarantine/` with the reason beside it; then the session
that was cut short gets its closing record. Every step can be interrupted and done again, and no
file, however broken, keeps a start from succeeding.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgerec.audio import Stamp
from edgerec.store.chunk import retimed
from edgerec.store.described import SidecarError
from edgerec.store.disk import StoreError, disk_step, is_no_room
from edgerec.store.formats import WAV_SUFFIX
from edgerec.store.journal import JournalError
from edgerec.store.leftover import (
    Cut,
    close_leftover,
    delete_leftover,
    group_of,
    publish_leftover,
)
from edgerec.store.naming import (
    AUDIO_SUFFIXES,
    JOURNAL_SUFFIX,
    SIDECAR_SUFFIX,
    parse_published,
)
from edgerec.store.publish import Published
from edgerec.store.quarantine import quarantine
from edgerec.store.root import StorageRoot
from edgerec.store.totals import Totals, close_session, find_record, forget, recall, remember
from edgerec.store.wav import HEADER_BYTES

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CutShort:
    """A session that a crash ended."""

    session: str
    last: Stamp
    """Of the end of what there is of it; what came behind that is lost."""


@dataclass(slots=True)
class Recovery:
    """What became of the leftovers."""

    published: list[Published] = field(default_factory=list)
    """Chunks, tracks and the record that closes their session."""
    completed: list[Path] = field(default_factory=list)
    """Files that were whole; only their last name was missing."""
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    """Where each went that could not be repaired, and why."""
    deleted: list[Path] = field(default_factory=list)
    """What held no audio."""
    cut_short: CutShort | None = None
    """None: the last session had ended in good order."""


def recover(root: StorageRoot, now: Stamp) -> Recovery:
    """Empty the work folder, and close the session that was cut short.

    Parameters
    ----------
    root
        Acquired; nothing may be recording in it.
    now
        Of this moment. What was written in this boot the kernel still has, though never synced.

    Raises
    ------
    StoreError
        The disk is full or read-only, or a leftover can neither be published nor moved away.
        Nothing is lost by that; do it again.
    """
    return _Recovering(root, now).run()


class _Recovering:
    def __init__(self, root: StorageRoot, now: Stamp) -> None:
        self._root = root
        self._now = now
        self._done = Recovery()
        self._totals: Totals | None = None

    def run(self) -> Recovery:
        self._totals = recall(self._root)
        with disk_step("listing", self._root.work):
            leftovers = sorted(self._root.work.iterdir())
        for path in (path for path in leftovers if not _is_regular(path)):
            # A link leads anywhere, and whoever opens a pipe waits for its writer.
            self._quarantine(path, "not a regular file")
        leftovers = [path for path in leftovers if path.exists()]
        for path in leftovers:
            if path.suffix == JOURNAL_SUFFIX:
                self._recover_chunk(path)
        for path in (path for path in leftovers if path.exists()):
            if not _may_matter(path):
                self._delete(path)
            else:
                self._quarantine(path, "nothing says what it is")
        self._close_session()
        return self._done

    def _recover_chunk(self, journal: Path) -> None:
        group = group_of(self._root, journal)
        try:
            self._publish_chunk(journal)
        except (JournalError, SidecarError, StoreError) as error:
            if isinstance(error, StoreError) and (is_no_room(error) or error.path not in group):
                raise  # not this chunk's fault: a later try can do better
            if any(map(_holds_audio, group)):
                for path in (path for path in group if path.exists()):
                    self._quarantine(path, str(error))
        self._done.deleted += delete_leftover(self._root, journal)

    def _publish_chunk(self, journal: Path) -> None:
        """Publish what there is of a chunk; what is left of it then holds no audio."""
        cut = Cut("crash", recovered=True, now=self._now)
        if close_leftover(self._root, journal, cut).closing is None:
            return
        settled = publish_leftover(self._root, journal, self._now, begun_before=True)
        self._done.published += settled.published
        self._done.completed += settled.completed
        totals, facts = self._totals, settled.facts
        if totals is not None and not totals.counts(facts):
            self._totals = totals.plus(facts, settled.files)
            remember(self._root, self._totals)  # before its journal goes

    def _close_session(self) -> None:
        totals = self._totals
        if totals is None:
            return
        session, start = totals.session, retimed(totals.start, self._now)
        since_ns = totals.stop * _SECOND_NS // totals.sample_rate
        end = replace(
            start, utc_ns=start.utc_ns + since_ns, monotonic_ns=start.monotonic_ns + since_ns
        )
        if find_record(self._root, session) is not None:
            forget(self._root)  # it ended in good order, and something else did not
            return
        self._done.cut_short = CutShort(session.id, end)
        record = close_session(
            self._root, replace(totals, start=start), totals.stop, end, "crash", recovered=True
        )
        self._done.published.append(record)

    def _quarantine(self, path: Path, reason: str) -> None:
        self._done.quarantined.append((quarantine(self._root, path, reason), reason))

    def _delete(self, path: Path) -> None:
        with disk_step("deleting", path):
            path.unlink()
        self._done.deleted.append(path)


def _is_regular(path: Path) -> bool:
    with disk_step("looking at", path):
        return stat.S_ISREG(path.lstat().st_mode)


def _may_matter(path: Path) -> bool:
    """Whether a file that belongs to no journal could hold what somebody wants back."""
    if path.suffix == SIDECAR_SUFFIX and parse_published(path.stem):
        return False  # a draft; publishing makes it anew
    return path.suffix not in AUDIO_SUFFIXES or _holds_audio(path)


def _holds_audio(path: Path) -> bool:
    with disk_step("reading", path):
        size_bytes = path.stat().st_size if path.suffix in AUDIO_SUFFIXES and path.exists() else 0
    return size_bytes > (HEADER_BYTES if path.suffix == WAV_SUFFIX else 0)
