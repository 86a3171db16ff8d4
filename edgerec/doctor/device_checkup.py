"""Checks the configured devices, and what would go wrong with recording them.

Nothing is opened but what listing opens; every finding that is not "ok" says what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.alsa_cards import ALSA_PREFIX
from edgerec.capture.devices.catalog import PULSE_PREFIX, DeviceError, DeviceInfo, resolve
from edgerec.capture.devices.channels import ChannelError, plan_opening
from edgerec.capture.devices.server_stream import REFUSAL_HINT, is_monitor, refusal, server_source
from edgerec.capture.devices.sound_server import read_server, why_no_answer
from edgerec.config import Config, TrackConfig
from edgerec.doctor.checkup import Finding


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


_NUMBERED: Final = re.compile(r":(?:CARD=)?\d")  # hw:1,0, plughw:1, sysdefault:CARD=1


def check_devices(
    config: Config, list_devices: Callable[[], Sequence[DeviceInfo]]
) -> Iterator[Finding]:
    """Check the configured devices; nothing is opened but what listing opens."""
    wanted = {n: t for n, t in config.tracks.used.items() if t.source == "portaudio"}
    if not wanted:
        return
    try:
        devices = list_devices()
    except DeviceError as error:
        yield Finding("device", "failure", str(error), error.hint)
        return
    found: dict[TrackName, DeviceInfo] = {}
    for name, track in wanted.items():
        try:
            found[name] = resolve(track.device, devices)
        except DeviceError as error:
            fix = f"set tracks.{name}.device to one that there is; {error.hint}"
            yield Finding("device", "failure", f"{name}: {error}", fix)
            continue
        yield from _check_device(name, track, found[name])
    yield from _check_pair(found)


def _check_device(name: TrackName, track: TrackConfig, device: DeviceInfo) -> Iterator[Finding]:
    rate = track.sample_rate or device.sample_rate
    told = f"{name}: {device.named(track.device)}, {rate} Hz, {device.channels} channels"
    if device.pulse_source is not None:
        told += ", PipeWire" if device.is_pipewire else ", PulseAudio"
    yield Finding("device", "ok", told)
    source = check_source(name, track, device)
    if source is not None:
        yield from _check_source(name, source)
    if track.device is None and not (source and source.refused):
        default = source and source.default
        stable = PULSE_PREFIX + default if default else device.stable_id
        yield Finding(
            "device",
            "warning",
            f"{name}: no device is named, and what is the default changes with every plug",
            f"set tracks.{name}.device to {stable!r}",
        )
    yield from _check_number(name, track, device)
    yield from _check_order(name, track, device)
    yield from _check_channels(name, track, device)
    if track.sample_rate not in (None, device.sample_rate):
        yield Finding(
            "device",
            "note",
            f"{name}: opened at {track.sample_rate} Hz, its own rate is {device.sample_rate} Hz",
            f"set tracks.{name}.sample_rate to null",
        )


def _check_number(name: TrackName, track: TrackConfig, device: DeviceInfo) -> Iterator[Finding]:
    by_id = (ALSA_PREFIX, PULSE_PREFIX)
    wanted = track.device or ""
    if wanted.startswith(by_id) or not _NUMBERED.search(wanted):  # in `usb-0000:01:00.0` are others
        return
    stable = device.id.startswith(by_id)
    yield Finding(
        "device",
        "warning",
        f"{name}: {wanted!r} goes by the number of a card, which others may have tomorrow",
        f"set tracks.{name}.device to {device.stable_id!r}"
        if stable
        else "name it by an id that begins with alsa: or pulse:, see `edgerec devices`",
    )


def _check_order(name: TrackName, track: TrackConfig, device: DeviceInfo) -> Iterator[Finding]:
    """Warn of a device that another one of its kind will be after a boot or when it is plugged."""
    if track.device is None or not device.by_order:
        return
    if track.device.casefold() not in device.id.casefold():  # by its port, or by its name
        return
    yield Finding(
        "device",
        "warning",
        f"{name}: the id {device.id} goes by the order in which devices of its kind are detected: "
        "another one may have it tomorrow",
        f"set tracks.{name}.device to {device.port_id!r}, which stays with its USB port; "
        "`edgerec doctor --chirp` shows whether it is the right one"
        if device.port_id
        else "give it an id of its own with a udev rule: see Twins in docs/devices.md",
    )


def _check_source(name: TrackName, source: SourceCheck) -> Iterator[Finding]:
    if source.default is not None:
        told = f"{name}: the sound server's default source is {source.default}"
        yield Finding("device", "ok", told)
    if source.unwatched:
        told = f"{name}: a swapped source would go unnoticed: {source.unwatched}"
        yield Finding("device", "warning", told, source.fix)
    if source.refused:
        yield Finding("device", "failure", f"{name}: {source.refused}", source.fix)


def _check_channels(name: TrackName, track: TrackConfig, device: DeviceInfo) -> Iterator[Finding]:
    if isinstance(track.channels, int) and device.channels < track.channels:
        yield Finding(
            "device",
            "note",
            f"{name}: {track.channels} channels are asked for, {device.channels} there are",
            f"set tracks.{name}.channels to {device.channels}",
        )
    try:
        opening = plan_opening(track.channels, device)
    except ChannelError as error:
        yield Finding("device", "failure", f"{name}: {error}", error.hint)
        return
    if name == "user" and device.channels > 2 and _mixes(track, device):
        yield Finding(
            "device",
            "note",
            f"user: the channels of {device.id} are mixed; an array may have its loudspeaker's "
            "signal on one of them",
            "list those of the microphones, such as tracks.user.channels: [1]",
        )
    known = device.id.startswith((ALSA_PREFIX, PULSE_PREFIX))
    if opening.taken is not None and not known:
        yield Finding(
            "device",
            "note",
            f"{name}: ALSA's configuration decides which channels {device.id} delivers",
            "name the device itself, by an id that begins with alsa: or pulse:",
        )


def _mixes(track: TrackConfig, device: DeviceInfo) -> bool:
    """Tell whether more of a device's channels than two come as one."""
    served = device.pulse_source is not None  # which mixes all of them into as many as are asked
    return isinstance(track.channels, int) and (served or track.channels > 2)


def _check_pair(found: Mapping[TrackName, DeviceInfo]) -> Iterator[Finding]:
    user, bot = found.get("user"), found.get("bot")
    if user is not None and bot is not None and user.id == bot.id:
        yield Finding(
            "device",
            "failure",
            f"both tracks record {bot.id}",
            "set tracks.bot.device to the loudspeaker's loopback: see `edgerec loopback`",
        )
    elif bot is not None and bot.loopback is None:
        yield Finding(
            "device",
            "warning",
            f"bot: nothing says that {bot.id} hears the loudspeaker",
            "see `edgerec loopback`; `edgerec doctor --chirp` proves it",
        )
    if user is not None and user.loopback is not None:
        yield Finding(
            "device",
            "warning",
            f"user: {user.id} looks like a loopback ({user.loopback})",
            "set tracks.user.device to the microphone; `edgerec devices` lists what there is",
        )
