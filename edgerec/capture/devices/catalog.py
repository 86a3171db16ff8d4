"""Lists the inputs that can be opened here, and finds the one that the configuration names.

PortAudio's own indices and the numbers of ALSA cards change with every plug and boot, so a device
goes by a stable id:

- ``alsa:Mic,1``, an ALSA card by its id in ``/proc/asound/cards``, and the device on it;
- ``pulse:NAME``, a source of PulseAudio or PipeWire, opened through ALSA's ``pulse`` device;
- ``alsa:usb-PORT,1`` and ``pulse:NAME@usb-PORT``, the same by the USB port: of identical devices
  the other ids go by the order in which they were detected;
- anything else by PortAudio's name for it: ``kiosk_mic``, a PCM of ``asound.conf``.

PortAudio lists no monitor of a loudspeaker; the sound server does, so it is asked as well.
Without numpy: the capture child uses it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgerec.capture.devices.alsa_cards import (
    ALOOP_DRIVER,
    ALSA_PREFIX,
    AlsaCard,
    alsa_owner,
    read_alsa_cards,
    unnumbered,
)
from edgerec.capture.devices.pcm_name import resolve_pcm
from edgerec.capture.devices.server_answers import ServerSource
from edgerec.capture.devices.sound_server import SoundServerError, read_sources, why_no_answer

_ALSA_HARDWARE: Final = re.compile(r"\(hw:(\d+),(\d+)\)$")
PULSE_PREFIX: Final = "pulse:"
_ID_PREFIXES: Final = (ALSA_PREFIX, PULSE_PREFIX)
_PULSE_PCM: Final = "pulse"


class DeviceError(Exception):
    """A name that fits no device, or more than one; `hint` lists what there is."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """An input that PortAudio can open here."""

    id: str
    """Id of the device; stable across boots and plugging unless `by_order`."""
    name: str
    host_api: str
    index: int
    """PortAudio's index of the device, in this process only."""
    sample_rate: int
    """Default sampling rate of the device, in Hz."""
    channels: int
    """Maximum number of channels."""
    is_default: bool
    """Whether it is opened when no device is named."""
    loopback: str | None = None
    """Reason why this is likely the loudspeaker's signal; None where nothing says so."""
    pulse_source: str | None = None
    """Value that PULSE_SOURCE must have when `index` is opened."""
    is_served: bool = False
    """Whether a sound server delivers it and has reported its rate."""
    is_pipewire: bool = False
    """Whether it is a PipeWire source."""
    positions: tuple[str, ...] = ()
    """Positions of its channels as reported by a sound server; empty where unknown."""
    by_order: bool = False
    """Whether `id` goes by the order in which identical devices were detected."""
    port_id: str | None = None
    """Id of the device by its USB port; None: not a USB device, or the port is not known."""

    @property
    def stable_id(self) -> str:
        """Id to put into a configuration."""
        return self.port_id if self.by_order and self.port_id else self.id

    def named(self, wanted: str | None) -> str:
        """Return the id by which the device is wanted: by its port only if it was named so."""
        return self.id if self.port_id is None or wanted != self.port_id else self.port_id


def list_devices() -> list[DeviceInfo]:
    """Return every input that can be opened here, PortAudio's own first.

    Raises
    ------
    DeviceError
        PortAudio itself is not installed, or can't start.
    """
    devices = _portaudio_inputs()
    return devices + _server_inputs(devices)


def find_device(wanted: str | None) -> DeviceInfo:
    """Return the device that `wanted` names, as `resolve` does, querying no more than it must.

    Raises
    ------
    DeviceError
        As `list_devices` and `resolve`.
    """
    devices = _portaudio_inputs()
    if wanted is not None and all(wanted not in (device.id, device.port_id) for device in devices):
        devices += _server_inputs(devices)
    try:
        return resolve(wanted, devices)
    except DeviceError:
        owner = None if wanted is None else alsa_owner(wanted)
        if owner is None:
            raise
    raise DeviceError(
        f"{wanted!r} is busy",
        f"process {owner} holds it; `edgerec loopback` shows how to share a card",
    )


def resolve(wanted: str | None, devices: Sequence[DeviceInfo]) -> DeviceInfo:
    """Return the device given by a stable id, a name, a part of either, or None for the default.

    An ``alsa:`` or ``pulse:`` id is never taken for a part of another.

    Raises
    ------
    DeviceError
        None fits, or several fit equally well.
    """
    if wanted is None:
        found = [device for device in devices if device.is_default]
        what = "no default input device"
    else:
        found = _best_matches(wanted, devices)
        what = f"no input device named {wanted!r}"
    if len(found) == 1:
        return found[0]
    if found:
        raise DeviceError(
            f"{wanted!r} fits {len(found)} input devices", f"name one by its id: {_ids(found)}"
        )
    hint = f"there is: {_ids(devices)}" if devices else "there is no input device at all"
    if wanted is not None and wanted.startswith(PULSE_PREFIX):
        hint += f"; {why}" if (why := why_not_served(devices)) else ""
    raise DeviceError(what, hint)


def why_not_served(devices: Sequence[DeviceInfo]) -> str:
    """Return why no sound server's device is among these; empty: a server has answered."""
    # PortAudio lists `pulse` only where it can be opened.
    if any(device.is_served or device.name == _PULSE_PCM for device in devices):
        return ""
    if resolve_pcm(_PULSE_PCM) is None:
        return "ALSA has no device `pulse`: apt install libasound2-plugins"
    return str(why_no_answer())


def _best_matches(wanted: str, devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    exact = [device for device in devices if wanted in (device.id, device.port_id)] or [
        device for device in devices if device.name == wanted
    ]
    # An id that is gone must not find its namesake: `pulse:mic` is a part of `pulse:mic2.monitor`.
    if exact or wanted.startswith(_ID_PREFIXES):
        return exact
    part = wanted.casefold()
    return [
        device
        for device in devices
        if part in device.id.casefold() or part in device.name.casefold()
    ]


def _ids(devices: Sequence[DeviceInfo]) -> str:
    return ", ".join(device.stable_id for device in devices)


def portaudio_inputs(
    devices: Sequence[Mapping[str, Any]],
    host_apis: Sequence[Mapping[str, Any]],
    default_index: int,
    cards: Mapping[int, AlsaCard],
) -> list[DeviceInfo]:
    """Return the inputs among what `sounddevice.query_devices` and `query_hostapis` return."""
    return [
        _portaudio_input(device, host_apis[device["hostapi"]]["name"], default_index, cards)
        for device in devices
        if device["max_input_channels"] > 0
    ]


def _portaudio_input(
    device: Mapping[str, Any], host_api: str, default_index: int, cards: Mapping[int, AlsaCard]
) -> DeviceInfo:
    name = str(device["name"])
    hardware = _ALSA_HARDWARE.search(name)
    card = cards.get(int(hardware[1])) if hardware else None
    loopback = port_id = None
    if card and card.port and hardware:
        port_id = f"{ALSA_PREFIX}{card.port},{hardware[2]}"
    if card is not None and card.driver == ALOOP_DRIVER:
        loopback = "snd-aloop: hears what is played into its other half"
    elif "monitor" in name.casefold() or "loopback" in name.casefold():
        loopback = "its name says so"
    return DeviceInfo(
        id=f"{ALSA_PREFIX}{card.id},{hardware[2]}" if card and hardware else name,
        name=name,
        host_api=host_api,
        index=device["index"],
        sample_rate=round(device["default_samplerate"]),
        channels=device["max_input_channels"],
        is_default=device["index"] == default_index,
        loopback=loopback,
        by_order=card is not None and card.by_order,
        port_id=port_id,
    )


def source_inputs(
    sources: Sequence[ServerSource], portaudio: Sequence[DeviceInfo]
) -> list[DeviceInfo]:
    """Return the sound server's sources as inputs; none where PortAudio has no `pulse` device."""
    door = next((device for device in portaudio if device.name == _PULSE_PCM), None)
    if door is None:
        return []
    alike = Counter(unnumbered(source.name) for source in sources)
    return [
        DeviceInfo(
            id=f"{PULSE_PREFIX}{source.name}",
            name=source.description,
            host_api=door.host_api,
            index=door.index,
            sample_rate=source.sample_rate,
            channels=source.channels,
            is_default=False,
            loopback="monitor: hears what its loudspeaker plays" if source.is_monitor else None,
            pulse_source=source.name,
            is_served=True,
            is_pipewire=source.is_pipewire,
            positions=source.positions,
            by_order=alike[unnumbered(source.name)] > 1 or unnumbered(source.name) != source.name,
            port_id=source.name_by_port and f"{PULSE_PREFIX}{source.name_by_port}",
        )
        for source in sources
    ]


def _portaudio_inputs() -> list[DeviceInfo]:
    try:
        import sounddevice  # late: it starts PortAudio, which opens every device there is
    except OSError as error:
        raise DeviceError(
            f"starting PortAudio: {error}", "install it: apt install libportaudio2"
        ) from error
    return portaudio_inputs(
        sounddevice.query_devices(),
        sounddevice.query_hostapis(),
        sounddevice.default.device[0],
        read_alsa_cards(),
    )


def _server_inputs(portaudio: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    try:
        return source_inputs(read_sources(), portaudio)
    except SoundServerError as error:
        raise DeviceError(str(error), "use an ALSA device (`arecord -l`), not pulse:...") from error
