"""Decides whether a capture child's stream is on the source that it should record.

A named source must be exactly that one. A default one must stay the one that it began with, and the
user's track records no loudspeaker monitor unless its configuration names it. For one thread.
"""

from __future__ import annotations

from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.catalog import PULSE_PREFIX
from edgerec.capture.devices.device_verdict import OpenDevice
from edgerec.capture.devices.sound_server import MONITOR_SUFFIX, RecordingStream
from edgerec.capture.devices.usb_port import PORT_MARK


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


def is_monitor(source: str) -> bool:
    """Whether a source of a sound server hears what a loudspeaker plays."""
    return source.endswith(MONITOR_SUFFIX)


def refusal(source: str) -> str:
    """Return why a default source that is a monitor is not recorded as the user."""
    return f"the sound server's default source is {source}, the monitor of a loudspeaker"


REFUSAL_HINT: Final = (
    "that is not recorded as the user: plug the microphone in, or set tracks.user.device to its "
    "id, which `edgerec devices` lists"
)


def _pulse_name(wanted: str | None) -> str | None:
    if wanted is None or not wanted.startswith(PULSE_PREFIX) or PORT_MARK in wanted:
        return None  # which source is on a port, only the child finds out
    return wanted.removeprefix(PULSE_PREFIX)


def _swapped(source: str, expected: str) -> str:
    return f"the sound server records {source} in place of {expected}"
