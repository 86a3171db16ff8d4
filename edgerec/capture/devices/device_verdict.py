"""What is known about one track's device from outside of its stream.

Whoever watches the sound server and the hardware notes it, in a thread of its own; the
`child.ChildSource` and its `own_audio.OwnAudio` act on it the next time that they are asked for
audio. Each field is replaced as a whole by one side, under the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SUSPECT_NS: Final = 1_200_000_000
"""A suspicion that nobody confirms is dropped: the server that is asked may hang, and both tracks
wait for what is held back. Where a dozen programs want two cores an answer takes up to 0.9 s, and
audio of another source would be heard until then. A session's end waits for 2 s, in which half a
second of blocks have to come as well."""


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A capture child, and what it says that it has opened."""

    pid: int
    device: str | None
    """As in its header; None before that."""
    started_ns: int
    """When the child was started."""
    source: str | None = None
    """Source that it asked its sound server for, as in its header."""


class Findings:
    """From the watch's thread to the source's, about the child that runs at the time."""

    def __init__(self) -> None:
        self._opened: OpenDevice | None = None
        self._tell_watch: Callable[[], None] = lambda: None
        self.followed = False
        """Written by the watch: it hears of each stream of the server, and vouches for ours."""
        self._suspected_ns: int | None = None
        self._vouched: int | None = None
        self._unknown: int | None = None
        self._accused: tuple[int, str, int] | None = None
        self._begins: tuple[int, int] = (0, 0)
        self._appeared = False

    @property
    def opened(self) -> OpenDevice | None:
        """The child that runs; None while none does. Written by the source."""
        return self._opened

    @opened.setter
    def opened(self, opened: OpenDevice | None) -> None:
        self._opened = opened
        self._tell_watch()

    # For the watch

    def be_told(self, tell_watch: Callable[[], None]) -> None:
        """Have this called, in the source's thread, whenever it has opened something or closed."""
        self._tell_watch = tell_watch

    def suspect(self, now_ns: int) -> None:
        """Say that something has changed, and that it is being looked into."""
        self._suspected_ns = now_ns

    def vouch(self, pid: int) -> None:
        """Say that a child records what it should."""
        self._vouched = pid
        self._suspected_ns = None

    def begins(self, pid: int, at_ns: int) -> None:
        """Say that what a child delivers is its own device's from this instant on."""
        self._begins = (pid, at_ns)

    def pass_over(self) -> None:
        """Say that nothing is known against it."""
        self._suspected_ns = None

    def unknown(self, pid: int) -> None:
        """Say that the server, asked about a child that delivers, knows no stream of it."""
        self._unknown = pid
        self._suspected_ns = None

    def accuse(self, pid: int, detail: str) -> None:
        """Say that a child records from another device than its own, since it was suspected."""
        if self._accused is None or self._accused[0] != pid:  # what is suspected later adds nothing
            self._accused = (pid, detail, self._suspected_ns or 0)

    def appeared(self) -> None:
        """Say that a device has come, perhaps the one that is missing."""
        self._appeared = True

    # For the source

    def suspected_since(self, now_ns: int, within_ns: int = SUSPECT_NS) -> int | None:
        """Return since when what the child delivers may be another device's; None: it is not.

        What changed before the child was started has nothing to do with it.

        Parameters
        ----------
        within_ns
            How long an answer is waited for.
        """
        since_ns, opened = self._suspected_ns, self._opened
        if since_ns is None or (opened is not None and since_ns < opened.started_ns):
            return None
        return since_ns if now_ns - since_ns < within_ns else None

    def vouched(self, pid: int) -> bool:
        """Whether somebody would tell if this child's device were swapped."""
        return self._vouched == pid

    def is_unknown(self, pid: int) -> bool:
        """Whether nobody will say anything of this child's device."""
        return self._unknown == pid

    def began_ns(self, pid: int) -> int:
        """Return from when on what a child delivers is its own device's; 0: always was."""
        begun_pid, at_ns = self._begins
        return at_ns if begun_pid == pid else 0

    def accusation(self, pid: int) -> tuple[str, int] | None:
        """Return what is wrong with this child's device, and since when; None: nothing.

        0: since whenever.
        """
        accused = self._accused
        return accused[1:] if accused is not None and accused[0] == pid else None

    def take_appearance(self) -> bool:
        """Whether a device has come since the last call."""
        appeared, self._appeared = self._appeared, False
        return appeared
