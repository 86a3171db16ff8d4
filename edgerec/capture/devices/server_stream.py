"""What a capture child settles before it opens a device that may be a sound server's.

The source that it asks the server for; that the server can tell its stream, whichever plug-in of
ALSA opens it; and that the user's track does not begin on a loudspeaker's monitor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import replace

from edgerec.audio import TrackName
from edgerec.capture.devices.catalog import ALSA_PREFIX, DeviceError, DeviceInfo
from edgerec.capture.devices.pcm_name import PcmTarget, asked_source, resolve_pcm
from edgerec.capture.devices.right_source import REFUSAL_HINT, is_monitor, refusal
from edgerec.capture.devices.sound_server import (
    ServerSource,
    SoundServerError,
    read_default_source,
    read_sources,
)


class Server:
    """What the sound server is asked before a stream of it is opened; no answer is none."""

    def sources(self) -> list[ServerSource]:
        """Return all sources."""
        with contextlib.suppress(SoundServerError):
            return read_sources()
        return []

    def default_source(self) -> str | None:
        """Return what a stream records that asks for no source."""
        with contextlib.suppress(SoundServerError):
            return read_default_source()
        return None


def prepare_stream(
    track: TrackName,
    device: DeviceInfo,
    env: MutableMapping[str, str] = os.environ,
    server: Server | None = None,
) -> str | None:
    """Prepare this process for opening a device; return the source that it will ask a server for.

    Returns
    -------
    Empty for the server's default source; None where the device is not a sound server's.

    Raises
    ------
    DeviceError
        The device leads to a source that is not there, or to a monitor that the user's track must
        not record.
    """
    target = served_target(device)
    if target is None:
        return None
    if target.server is not None:
        env["PULSE_SERVER"] = target.server  # for what is asked, too
    source = asked_source(target, env) or ""
    server = server or Server()
    if source and device.pulse_source is None:
        refuse_absent(device, source, server)
    elif not source and track == "user":
        refuse_monitor(server)
    introduce(track, os.getpid(), env)
    return source


def as_served(device: DeviceInfo, source: str | None, server: Server | None = None) -> DeviceInfo:
    """Return a device with the rate of the source that it leads to.

    ALSA's plug-ins take any rate, and PortAudio tries 44100 Hz first.

    Parameters
    ----------
    source
        As `prepare_stream` returns it.
    """
    if source is None or device.is_served:
        return device
    server = server or Server()
    name = source or server.default_source()
    for one in server.sources():
        if one.name == name:
            return replace(
                device,
                sample_rate=one.sample_rate,
                is_served=True,
                is_pipewire=one.is_pipewire,
            )
    return device


def server_source(device: DeviceInfo, env: Mapping[str, str]) -> str | None:
    """Return which source of a sound server a device is: its name; empty: the default; None: none.

    Parameters
    ----------
    env
        Of the process that opens it.
    """
    target = served_target(device)
    return None if target is None else asked_source(target, env) or ""


def served_target(device: DeviceInfo) -> PcmTarget | None:
    """Return what a sound server's device leads to; None for any other device."""
    if device.pulse_source is not None:
        return PcmTarget("pulse", device.pulse_source)
    if device.host_api != "ALSA" or device.id.startswith(ALSA_PREFIX):
        return None
    target = resolve_pcm(device.name)
    return target if target is not None and target.is_served else None


def refuse_absent(device: DeviceInfo, source: str, server: Server) -> None:
    """See that the server has a source: PipeWire puts a stream that asks for none onto the default.

    Raises
    ------
    DeviceError
        It has others, and not this one.
    """
    names = [one.name for one in server.sources()]
    if names and source not in names:
        raise DeviceError(
            f"{device.id} leads to the source {source}, which the sound server does not have",
            f"it has: {', '.join(names)}",
        )


def refuse_monitor(server: Server) -> None:
    """See that the server's default source is not a loudspeaker's monitor.

    Raises
    ------
    DeviceError
        It is.
    """
    source = server.default_source()
    if source is not None and is_monitor(source):
        raise DeviceError(refusal(source), REFUSAL_HINT)


def introduce(track: TrackName, pid: int, env: MutableMapping[str, str]) -> None:
    """Have PipeWire's plug-in for ALSA say whose stream it opens, as PulseAudio's does by itself.

    A setting that the configuration makes there is left alone: the stream is found by the process
    that the kernel names to PipeWire then.
    """
    if "PIPEWIRE_ALSA" not in env:
        env["PIPEWIRE_ALSA"] = f'{{ application.process.id = {pid} node.name = "edgerec-{track}" }}'
