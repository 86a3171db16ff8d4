"""Decides whether a capture child's stream is on the source that it should record.

A named source must be exactly that one. A default one must stay the one that it began with, and the
user's track records no loudspeaker monitor unless its configuration names it. Streams that the
server does not list are logged: a swap would go unnoticed. For one thread.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.alsa_cards import PORT_MARK
from edgerec.capture.devices.catalog import PULSE_PREFIX
from edgerec.capture.devices.device_verdict import OpenDevice
from edgerec.capture.devices.server_stream import is_monitor, refusal
from edgerec.capture.devices.sound_server import RecordingStream
from edgerec.clock import Clock


class RightSource:
    """The sources that the streams of some tracks began with."""

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
    """Which tracks' streams are missing from the server's, and since when; logged once."""

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
