"""Verdicts on one track's device: is a capture child's stream on the source that it should record.

The watch decides (`RightSource`) and logs what it can't watch (`Unwatched`) in its own thread. It
notes in `Findings` what the `child.ChildSource` and its `stream_guard.OwnAudio` act on at the next
`deliver`. There each field is replaced as a whole by one side, under the GIL.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.alsa_cards import PORT_MARK
from edgerec.capture.devices.catalog import PULSE_PREFIX
from edgerec.capture.devices.server_answers import RecordingStream
from edgerec.capture.devices.server_stream import is_monitor, refusal
from edgerec.clock import Clock

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


class RightSource:
    """The sources that the streams of some tracks began with; for one thread.

    A named source must be exactly that one. A default one must stay the one that it began with, and
    the user's track records no loudspeaker monitor unless its configuration names it.
    """

    def __init__(self) -> None:
        self._first: dict[TrackName, tuple[int, RecordingStream]] = {}

    def wrong(
        self, track: TrackName, wanted: str | None, opened: OpenDevice, stream: RecordingStream
    ) -> str | None:
        """Return why a child does not record what it should; None: it does, as far as is known.

        A source that has come back under its name counts as another one: in between, PulseAudio has
        moved the stream elsewhere.

        Parameters
        ----------
        wanted
            The track's device as named in the configuration.
        """
        first = self._first_of(track, opened, stream)
        if stream.source is None:
            return None if first is None else f"the sound server took {first.source} away"
        named = asked_source(wanted, opened)
        if named and stream.source != named:
            return _swapped(stream.source, named)
        if first is not None and stream.source != first.source:
            return _swapped(stream.source, str(first.source))
        if first is not None and stream.source_index != first.source_index:
            return f"the sound server took {stream.source} away and put it back"
        if track == "user" and not named and is_known(wanted, opened) and is_monitor(stream.source):
            return refusal(stream.source)
        return None

    def _first_of(
        self, track: TrackName, opened: OpenDevice, stream: RecordingStream
    ) -> RecordingStream | None:
        """Return where a child's stream was when first seen; None: it is not on a source yet."""
        pid, first = self._first.get(track, (opened.pid, stream))
        if pid != opened.pid:
            first = stream
        if first.source is None:
            return None
        self._first[track] = (opened.pid, first)
        return first


def is_known(wanted: str | None, opened: OpenDevice) -> bool:
    """Whether it is known which source a child requests; its header says so at the latest."""
    return opened.device is not None or _pulse_name(wanted) is not None


def asked_source(wanted: str | None, opened: OpenDevice) -> str | None:
    """Return the source that a child requests from its server; None or empty: none by name."""
    if opened.source is not None:
        return opened.source
    return _pulse_name(wanted)


def _pulse_name(wanted: str | None) -> str | None:
    if wanted is None or not wanted.startswith(PULSE_PREFIX) or PORT_MARK in wanted:
        return None  # which source is on a port, only the child finds out
    return wanted.removeprefix(PULSE_PREFIX)


def _swapped(source: str, expected: str) -> str:
    return f"the sound server records {source} in place of {expected}"


log = logging.getLogger(__name__)

MISSING_NS: Final = 5_000_000_000
"""Time for a stream to be found. A killed server is noticed sooner, by the capture child."""


class Unwatched:
    """Which tracks' streams are missing from the server's, and since when; logged once.

    If the server swapped their source, it would go unnoticed. For one thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[TrackName, tuple[int, int]] = {}
        self._told: set[TrackName] = set()

    def missing(self, track: TrackName, opened: OpenDevice | None, why: str) -> None:
        """Note that the server was asked about a track, and did not name its child's stream."""
        if opened is None or opened.source is None:  # nothing of a server's is open
            self._since.pop(track, None)
            return
        now_ns = self._clock.now_ns()
        pid, since_ns = self._since.get(track, (opened.pid, now_ns))
        if pid != opened.pid:
            since_ns = now_ns
        self._since[track] = (opened.pid, since_ns)
        if now_ns - since_ns >= MISSING_NS and track not in self._told:
            self._told.add(track)
            log.warning(
                "a swapped source would go unnoticed track=%s device=%r why=%r",
                track,
                opened.device,
                why,
            )

    def found(self, track: TrackName) -> None:
        """Note that a track's stream is watched."""
        self._since.pop(track, None)
        self._told.discard(track)

    def due_ms(self, tracks: Collection[TrackName]) -> int | None:
        """Return in how long the server is to be asked again; None: there is no reason to."""
        waiting = [
            since_ns + MISSING_NS
            for track, (_, since_ns) in self._since.items()
            if track in tracks and track not in self._told
        ]
        if not waiting:
            return None
        return max(0, math.ceil((min(waiting) - self._clock.now_ns()) / 1e6))
