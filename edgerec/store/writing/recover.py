"""Repairs, publishes or quarantines what a crash left in the work folder.

Whatever holds audio is repaired and published (`recovered: true`, `end_reason: crash`), what is
empty is deleted, and the rest goes to `quarantine/` with the reason beside it; then each session
that was cut short gets its closing record. Every step can be interrupted and repeated.

Leftovers are handled one by one: a failure of one does not affect another. What can neither be
published nor moved away is left alone, and reported. Audio is never deleted unless it has been
published, or its own journal says that it can't be relied upon.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from edgerec.audio import Stamp
from edgerec.clock import SECOND_NS
from edgerec.stamps import retimed
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.publish import FilePublished, PublishedNames
from edgerec.store.records.naming import (
    AUDIO_SUFFIXES,
    JOURNAL_SUFFIX,
    SIDECAR_SUFFIX,
    parse_published,
)
from edgerec.store.root import StorageRoot
from edgerec.store.writing.closing import (
    CutChunk,
    close_leftover,
    delete_leftover,
    publish_leftover,
)
from edgerec.store.writing.quarantine import (
    group_of,
    holds_audio,
    is_at_fault,
    quarantine,
    set_aside,
)
from edgerec.store.writing.session_summary import (
    Totals,
    close_session,
    find_record,
    forget,
    recall,
    remember,
    totals_file,
)

_ID_CHARS: Final = 8  # of a session's id, with which its names in the work folder begin
_JOURNAL: Final = re.compile(
    rf"(?P<session>[0-9a-f]{{8}})_(?P<sequence>\d{{6,18}})_(?P<what>[a-z-]{{1,16}})\{JOURNAL_SUFFIX}"
)


@dataclass(frozen=True, slots=True)
class CutShort:
    """A session that a crash ended."""

    session: str
    last: Stamp
    """Time of the end of what there is of it; what came later is lost."""


@dataclass(slots=True)
class Recovery:
    """The result of a recovery."""

    published: list[FilePublished] = field(default_factory=list)
    """Published chunks, tracks, and the records that close their sessions."""
    completed: list[Path] = field(default_factory=list)
    """Files that were whole; only their final name was missing."""
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    """Files that could not be repaired: their place in quarantine, and why."""
    deleted: list[Path] = field(default_factory=list)
    """Deleted files, which held no audio."""
    left: list[tuple[Path, str]] = field(default_factory=list)
    """Files that could neither be published nor moved away, and why; a retry may succeed."""
    cut_short: CutShort | None = None
    """The last session that a crash ended; None: all had ended in good order."""


def recover(root: StorageRoot, now: Stamp) -> Recovery:
    """Empty the work folder, and close the sessions that were cut short.

    Parameters
    ----------
    root
        Acquired; its open sessions are left alone.
    now
        Current time. What was written during this boot the kernel still has, though never synced.

    Raises
    ------
    StoreError
        The work folder or the state can't be listed. Nothing is lost by that; do it again.
    """
    done = Recovery()
    for _ in recover_each(root, now, done):
        pass
    return done


def recover_each(root: StorageRoot, now: Stamp, done: Recovery) -> Iterator[None]:
    """Do what `recover` does, yielding after each leftover; `done` grows meanwhile."""
    return _Recovering(root, now, done).run()


class _Recovering:
    def __init__(self, root: StorageRoot, now: Stamp, done: Recovery) -> None:
        self._root = root
        self._now = now
        self._done = done
        self._totals = {totals.session.id: totals for totals in recall(root)}
        self._published = PublishedNames(root.ready, self._totals.keys())
        self._unfinished: set[str] = set()
        """Sessions, and kinds of files in them, that have something left for a later try."""

    def run(self) -> Iterator[None]:
        for name in self._leftovers():
            path, regular = self._root.work / name, True
            with self._costing_no_other(path, name[:_ID_CHARS]):
                regular = _is_regular(path)
            if not regular:
                # A link may lead anywhere, and opening a pipe waits for its writer.
                with self._costing_no_other(path):
                    self._quarantine(path, "not a regular file")
        journals = [name for name in self._leftovers() if name.endswith(JOURNAL_SUFFIX)]
        sessions = {name[:_ID_CHARS] for name in journals} | self._totals.keys()
        self._published = PublishedNames(self._root.ready, sessions)
        for name in sorted(journals, key=_order):
            path, match = self._root.work / name, _JOURNAL.fullmatch(name)
            series = f"{match['session']} {match['what']}" if match else name
            if series in self._unfinished:
                continue  # they are published, and counted, in their order
            with self._costing_no_other(path, series, name[:_ID_CHARS]):
                self._recover_chunk(path)
            yield
        for name in self._leftovers():
            path = self._root.work / name
            if name[:_ID_CHARS] in self._unfinished:
                continue  # of a journal that is left for a later try
            with self._costing_no_other(path):
                if _may_matter(path):
                    self._quarantine(path, "nothing says what it is")
                else:
                    self._delete(path)
        for totals in self._totals.values():
            if totals.session.id in self._unfinished:
                continue
            path = totals_file(self._root, totals.session.id)
            with self._costing_no_other(path):
                try:
                    self._close_session(totals)
                except (StoreError, MemoryError):
                    raise
                except Exception as error:
                    self._quarantine(path, f"totals that can't be: {error}")
            yield

    def _leftovers(self) -> list[str]:
        """Return what is in the work folder, of no session in progress, and was not left alone.

        As names, not paths: after a day without `ready/` there are a hundred thousand.
        """
        with disk_step("listing", self._root.work):
            names = sorted(os.listdir(self._root.work))  # noqa: PTH208 -- a Path is five times that
        sessions = tuple(self._root.open_sessions)
        left = {path.name for path, _ in self._done.left}
        return [
            name
            for name in names
            if name not in left and not any(session in name for session in sessions)
        ]

    @contextmanager
    def _costing_no_other(self, path: Path, *unfinished: str) -> Iterator[None]:
        """Leave a leftover for a later try, whatever goes wrong with it."""
        try:
            yield
        except Exception as error:
            self._done.left.append((path, str(error) or repr(error)))
            self._unfinished.update(unfinished)

    def _recover_chunk(self, journal: Path) -> None:
        try:
            self._publish_chunk(journal)
        except Exception as error:
            group = group_of(self._root, journal)
            if not is_at_fault(error, group):
                raise
            if not any(map(holds_audio, group)):
                self._delete(journal)
                return
            reason = str(error) or repr(error)
            self._done.quarantined += [
                (path, reason) for path in set_aside(self._root, group, reason)
            ]

    def _publish_chunk(self, journal: Path) -> None:
        """Publish what there is of a chunk; what is left of it then holds no audio."""
        cut = CutChunk("crash", recovered=True, now=self._now)
        content = close_leftover(self._root, journal, cut)
        placed = None
        if content.closing is not None:
            settled = publish_leftover(
                self._root, journal, self._now, begun_before=True, find=self._published.find
            )
            self._done.published += settled.published
            self._done.completed += settled.completed.values()
            placed = settled.placed
            facts, totals = settled.facts, self._totals.get(settled.facts.session.id)
            if totals is not None and not totals.counts(facts):
                totals = totals.plus(facts, settled.files)
                remember(self._root, totals)  # before its journal goes
                self._totals[facts.session.id] = totals
        self._done.deleted += delete_leftover(self._root, content.opening, placed)

    def _close_session(self, totals: Totals) -> None:
        session, start = totals.session, retimed(totals.start, self._now)
        if find_record(self._root, session, start, self._published.find) is not None:
            forget(self._root, session)  # it ended in good order, and something else did not
            return
        find = self._published.find
        if totals.ended is not None:
            ended = totals.ended
            record = close_session(
                self._root, totals, ended.frames, ended.stamp, ended.reason, find=find
            )
        else:
            since_ns = totals.stop * SECOND_NS // totals.sample_rate
            end = replace(
                start, utc_ns=start.utc_ns + since_ns, monotonic_ns=start.monotonic_ns + since_ns
            )
            self._done.cut_short = CutShort(session.id, end)
            totals = replace(totals, start=start)
            record = close_session(
                self._root, totals, totals.stop, end, "crash", recovered=True, find=find
            )
        self._done.published.append(record)

    def _quarantine(self, path: Path, reason: str) -> None:
        self._done.quarantined.append((quarantine(self._root, path, reason), reason))

    def _delete(self, path: Path) -> None:
        with disk_step("deleting", path):
            path.unlink()
        self._done.deleted.append(path)


def _order(name: str) -> str:
    """Return a key that sorts a session's journals by number, however many digits it has."""
    match = _JOURNAL.fullmatch(name)
    return f"{match['session']} {match['sequence']:0>18} {name}" if match else name


def _is_regular(path: Path) -> bool:
    with disk_step("looking at", path):
        return stat.S_ISREG(path.lstat().st_mode)


def _may_matter(path: Path) -> bool:
    """Whether a file that belongs to no journal could hold what somebody wants back."""
    if path.suffix == SIDECAR_SUFFIX and parse_published(path.stem):
        return False  # a draft; publishing makes it again
    return path.suffix not in AUDIO_SUFFIXES or holds_audio(path)
