"""Findings of the device watch about one track's device, passed to its source.

The watch notes it in its own thread; the `child.ChildSource` and its `stream_guard.OwnAudio` act on
it at the next `deliver`. Each field is replaced as a whole by one side, under the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SUSPECT_NS: Final = 1_200_000_000
"""Time after which an unconfirmed suspicion is dropped: the server may hang, and both tracks wait
for what is held back. With a dozen programs busy on two cores an answer takes up to 0.9 s, and
audio of another source would be recorded until then. A session's end waits for 2 s, in which half a
second of blocks has to come as well."""


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A capture child, and what it reports to have opened."""

    pid: int
    device: str | None
    """Device as in the child's header; None before the header."""
    started_ns: int
    """Instant at which the child was started."""
    source: str | None = None
    """Source that the child requested from its sound server, as in its header."""


class Findings:
    """Passes findings about the running child from the watch's thread to the source's."""

    def __init__(self) -> None:
        self._opened: OpenDevice | None = None
        self._tell_watch: Callable[[], None] = lambda: None
        self.followed = False
        """Whether the watch follows the server's streams and confirms ours; set by the watch."""
        self._suspected_ns: int | None = None
        self._vouched: int | None = None
        self._unknown: int | None = None
        self._accused: tuple[int, str, int] | None = None
        self._begins: tuple[int, int] = (0, 0)
        self._appeared = False

    @property
    def opened(self) -> OpenDevice | None:
        """The running child; None while there is none. Written by the source."""
        return self._opened

    @opened.setter
    def opened(self, opened: OpenDevice | None) -> None:
        self._opened = opened
        self._tell_watch()

    # For the watch

    def be_told(self, tell_watch: Callable[[], None]) -> None:
        """Set a function that the source's thread calls when a child opens or closes a device."""
        self._tell_watch = tell_watch

    def suspect(self, now_ns: int) -> None:
        """Note that something has changed and is being checked."""
        self._suspected_ns = now_ns

    def vouch(self, pid: int) -> None:
        """Confirm that a child records what it should."""
        self._vouched = pid
        self._suspected_ns = None

    def begins(self, pid: int, at_ns: int) -> None:
        """Note the instant from which on a child delivers its own device."""
        self._begins = (pid, at_ns)

    def pass_over(self) -> None:
        """Drop the suspicion: nothing was found against the child."""
        self._suspected_ns = None

    def unknown(self, pid: int) -> None:
        """Note that the server lists no stream for a child that delivers."""
        self._unknown = pid
        self._suspected_ns = None

    def accuse(self, pid: int, detail: str) -> None:
        """Note that a child has recorded from a wrong device since it was suspected."""
        if self._accused is None or self._accused[0] != pid:  # what is suspected later adds nothing
            self._accused = (pid, detail, self._suspected_ns or 0)

    def appeared(self) -> None:
        """Note that a device has appeared, perhaps the missing one."""
        self._appeared = True

    # For the source

    def suspected_since(self, now_ns: int, within_ns: int = SUSPECT_NS) -> int | None:
        """Return since when the child may have delivered another device; None: not suspected.

        Changes before the child was started do not matter.

        Parameters
        ----------
        within_ns
            How long to wait for an answer.
        """
        since_ns, opened = self._suspected_ns, self._opened
        if since_ns is None or (opened is not None and since_ns < opened.started_ns):
            return None
        return since_ns if now_ns - since_ns < within_ns else None

    def vouched(self, pid: int) -> bool:
        """Whether the watch would report a swap of this child's device."""
        return self._vouched == pid

    def is_unknown(self, pid: int) -> bool:
        """Whether the server does not know this child's stream, so that a swap goes unnoticed."""
        return self._unknown == pid

    def began_ns(self, pid: int) -> int:
        """Return the instant from which on a child delivers its own device; 0: from its start."""
        begun_pid, at_ns = self._begins
        return at_ns if begun_pid == pid else 0

    def accusation(self, pid: int) -> tuple[str, int] | None:
        """Return what is wrong with this child's device, and since when; None: nothing.

        An instant of 0 means since its start.
        """
        accused = self._accused
        return accused[1:] if accused is not None and accused[0] == pid else None

    def take_appearance(self) -> bool:
        """Whether a device has appeared since the last call."""
        appeared, self._appeared = self._appeared, False
        return appeared
