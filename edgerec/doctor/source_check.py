"""Checks the sound-server source that a device leads to: may it be recorded, will it be watched.

The server is asked for its default; nothing is opened.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from edgerec.audio import TrackName
from edgerec.capture.devices.catalog import DeviceInfo
from edgerec.capture.devices.right_source import REFUSAL_HINT, is_monitor, refusal
from edgerec.capture.devices.server_reach import why_no_answer
from edgerec.capture.devices.server_stream import server_source
from edgerec.capture.devices.sound_server import read_server
from edgerec.config import TrackConfig


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """The result of checking a track's source on a sound server."""

    default: str | None = None
    """The server's default source, where the device leads to that."""
    refused: str = ""
    """Reason why it will not be recorded; empty: it will."""
    unwatched: str = ""
    """Reason why a swap by the server would go unnoticed; empty: it would be noticed."""
    fix: str = ""


def check_source(name: TrackName, track: TrackConfig, device: DeviceInfo) -> SourceCheck | None:
    """Check what a track's device leads to; None where that is not a sound server's."""
    source = server_source(device, os.environ | dict(track.env))
    if source is None:
        return None
    server = read_server()
    if server is None:
        no_answer = why_no_answer()
        return SourceCheck(unwatched=no_answer.why, fix=no_answer.hint)
    default = None if source else server.default_source
    if default is not None and name == "user" and is_monitor(default):
        return SourceCheck(default, refused=refusal(default), fix=REFUSAL_HINT)
    return SourceCheck(default)
