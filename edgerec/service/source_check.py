"""What a device leads to on a sound server: whether it may be recorded, and will be watched.

The server is asked what is its default; nothing is opened.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from edgerec.audio import TrackName
from edgerec.capture.devices import DeviceInfo
from edgerec.capture.right_source import REFUSAL_HINT, is_monitor, refusal
from edgerec.capture.server_stream import server_source
from edgerec.capture.sound_server import read_server
from edgerec.config import TrackConfig


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """What is to be known of a track's source on a sound server."""

    default: str | None = None
    """The server's default source, where the device leads to that."""
    refused: str = ""
    """Why it will not be recorded; empty: it will."""
    unwatched: str = ""
    """Why nobody would notice if the server swapped it; empty: somebody will."""
    fix: str = ""


def check_source(name: TrackName, track: TrackConfig, device: DeviceInfo) -> SourceCheck | None:
    """Look what a track's device leads to; None where that is not a sound server's."""
    source = server_source(device, os.environ | dict(track.env))
    if source is None:
        return None
    if shutil.which("pactl") is None:
        fix = "apt install pulseaudio-utils (for pactl)"
        return SourceCheck(unwatched="pactl is not installed", fix=fix)
    server = read_server()
    if server is None:
        fix = (
            "install pipewire-pulse where the server is PipeWire, or set PULSE_SERVER to its socket"
        )
        return SourceCheck(unwatched="no sound server answers pactl", fix=fix)
    default = None if source else server.default_source
    if default is not None and name == "user" and is_monitor(default):
        return SourceCheck(default, refused=refusal(default), fix=REFUSAL_HINT)
    return SourceCheck(default)
