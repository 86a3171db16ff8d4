"""Prepares a capture child for opening a device that may be a sound server's.

Settles which source it requests; makes its stream identifiable to the server, whichever ALSA
plug-in opens it; and keeps the user's track from beginning on a loudspeaker's monitor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.alsa_cards import ALSA_PREFIX
from edgerec.capture.devices.catalog import DeviceError, DeviceInfo
from edgerec.capture.devices.pcm_name import PcmTarget, resolve_pcm, source_of_pcm
from edgerec.capture.devices.server_answers import MONITOR_SUFFIX, ServerSource
from edgerec.capture.devices.sound_server import SoundServerError, read_default_source, read_sources


class Server:
    """Queries to the sound server before a stream is opened; no answer counts as empty."""

    def sources(self) -> list[ServerSource]:
        """Return all sources."""
        with contextlib.suppress(SoundServerError):
            return read_sources()
        return []

    def default_source(self) -> str | None:
        """Return the source that a stream records if it requests none."""
        with contextlib.suppress(SoundServerError):
            return read_default_source()
        return None


def prepare_stream(
    track: TrackName,
    device: DeviceInfo,
    env: MutableMapping[str, str] = os.environ,
    server: Server | None = None,
) -> str | None:
    """Prepare this process for opening a device; return the source that it will request.

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
        env["PULSE_SERVER"] = target.server  # for our own queries, too
    source = source_of_pcm(target, env) or ""
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
        The result of `prepare_stream`.
    """
    if source is None or device.is_served:
        return device
    server = server or Server()
    name = source or server.default_source()
    for one in server.sources():
        if one.name == name:
            return replace(
                device, sample_rate=one.sample_rate, is_served=True, is_pipewire=one.is_pipewire
            )
    return device


def server_source(device: DeviceInfo, env: Mapping[str, str]) -> str | None:
    """Return the sound server's source behind a device; empty: the default; None: not a server's.

    Parameters
    ----------
    env
        Environment of the process that opens it.
    """
    target = served_target(device)
    return None if target is None else source_of_pcm(target, env) or ""


def served_target(device: DeviceInfo) -> PcmTarget | None:
    """Return what a sound server's device leads to; None for any other device."""
    if device.pulse_source is not None:
        return PcmTarget("pulse", device.pulse_source)
    if device.host_api != "ALSA" or device.id.startswith(ALSA_PREFIX):
        return None
    target = resolve_pcm(device.name)
    return target if target is not None and target.is_served else None


def refuse_absent(device: DeviceInfo, source: str, server: Server) -> None:
    """Make sure that the server has a source: PipeWire would use the default instead.

    Raises
    ------
    DeviceError
        It has others, but not this one.
    """
    names = [one.name for one in server.sources()]
    if names and source not in names:
        raise DeviceError(
            f"{device.id} leads to the source {source}, which the sound server does not have",
            f"it has: {', '.join(names)}",
        )


def refuse_monitor(server: Server) -> None:
    """Make sure that the server's default source is not a loudspeaker's monitor.

    Raises
    ------
    DeviceError
        It is.
    """
    source = server.default_source()
    if source is not None and is_monitor(source):
        raise DeviceError(refusal(source), REFUSAL_HINT)


def introduce(track: TrackName, pid: int, env: MutableMapping[str, str]) -> None:
    """Have PipeWire's ALSA plug-in report the process of its stream, as PulseAudio's does anyway.

    An existing setting is left alone: the stream is then found by the process id that PipeWire has
    from the kernel.
    """
    if "PIPEWIRE_ALSA" not in env:
        env["PIPEWIRE_ALSA"] = f'{{ application.process.id = {pid} node.name = "edgerec-{track}" }}'


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
