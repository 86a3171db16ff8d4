"""Selects the channels of a device to record, and how many to open to get them.

If the configuration gives a number of channels, that many are opened and all of them are sent. If
it picks channels by their numbers, the capture child extracts these, so that pipes and traces carry
nothing else.

A sound server matches channels by their positions, not by their numbers, and mixes those that find
no match into others, or drops them. So enough channels are opened that every channel of the source
has a match, and those at the right positions are taken. Where that can't be done, an error says
what to type; another channel is never recorded. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgerec.capture.devices.catalog import PULSE_PREFIX, DeviceInfo
from edgerec.capture.devices.sound_server import why_no_answer

if TYPE_CHECKING:
    from typing_extensions import Buffer

Channels = int | tuple[int, ...]
"""Number of channels to open, or the channels to pick, counted from 1."""

PULSE_PCM: Final = "pulse"
STREAM_LIMIT: Final = 32  # of the channels of PulseAudio's streams
REMAPPED: Final = "edgerec_channels"
"""Name of the source that an error proposes to load."""
PROPERTIES: Final = "PULSE_PROP"
"""Environment variable with the properties of all streams of this process; read by libpulse."""
NO_REMIX: Final = "stream.dont-remix=true"
"""Property by which PipeWire connects a stream port by port: AUX channels in their order."""

_TYPES: Final = {1: "h", 2: "i", 4: "q"}
"""Array types as wide as n 16-bit samples; one slice costs a fifth of a copy per channel."""

_NAMED: Final = {
    1: ("mono",),
    2: ("front-left", "front-right"),
    4: ("front-left", "front-right", "rear-left", "rear-right"),
    5: ("front-left", "front-right", "rear-left", "rear-right", "front-center"),
    6: ("front-left", "front-right", "rear-left", "rear-right", "front-center", "lfe"),
    8: (
        *("front-left", "front-right", "rear-left", "rear-right", "front-center", "lfe"),
        *("side-left", "side-right"),
    ),
}
"""Positions that ALSA's pulse plugin requests, by number of channels; others are aux0, aux1, ..."""
_AUX: Final = re.compile(r"aux\d+")


class ChannelError(Exception):
    """A device can't deliver the channels that are asked for; `hint` says what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class DeviceOpening:
    """How to open a device, and which of its channels to send."""

    opened: int
    """Number of channels to open."""
    taken: tuple[int, ...] | None
    """Channels to send, counted from 0; None: all."""
    properties: str = ""
    """Properties to add to `PROPERTIES` before opening."""

    @property
    def sent(self) -> int:
        """Number of channels sent."""
        return self.opened if self.taken is None else len(self.taken)

    def take(self, pcm: Buffer) -> Buffer:
        """Extract the channels to send from interleaved int16 PCM of all opened channels."""
        if self.taken is None:
            return pcm
        first, wide = self.taken[0], self.sent
        if self.taken == tuple(range(first, first + wide)) and self._divides(wide, first):
            return _array(_TYPES[wide], pcm)[first // wide :: self.opened // wide]
        samples = _array("h", pcm)
        taken = array("h", bytes(len(samples) // self.opened * wide * samples.itemsize))
        for place, channel in enumerate(self.taken):
            taken[place::wide] = samples[channel :: self.opened]
        return taken

    def _divides(self, wide: int, first: int) -> bool:
        """Tell whether adjacent channels can be extracted as if they were one wide sample."""
        return wide in _TYPES and first % wide == 0 and self.opened % wide == 0

    def prepare(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what has to be set in the environment before the device is opened."""
        if not self.properties:
            return {}
        return {PROPERTIES: f"{environment.get(PROPERTIES, '')} {self.properties}".strip()}


def plan_opening(channels: Channels, device: DeviceInfo) -> DeviceOpening:
    """Return how to open a device for the channels that are asked for.

    A number opens that many channels, or all if the device has fewer. Where they are at AUX
    positions, which a sound server would turn into silence, it picks the first ones.

    Raises
    ------
    ChannelError
        The device does not have them, or it is unknown which of its channels would be delivered.
    """
    if isinstance(channels, int):
        opened = min(channels, device.channels)
        if opened == 1 or not _has_aux(device.positions):
            return DeviceOpening(opened, None)
        channels = tuple(range(1, opened + 1))
    missing = [channel for channel in channels if channel > device.channels]
    if missing:
        has = f"{device.channels} channel{'s' if device.channels > 1 else ''}"
        raise ChannelError(
            f"{device.id} has {has}, so there is no channel {missing[0]}",
            "channels are numbered from 1; `edgerec devices` lists how many each device has",
        )
    if device.pulse_source is not None:
        return _plan_served(channels, device, device.pulse_source)
    if device.name == PULSE_PCM:
        raise ChannelError(
            f"which channels {device.id} delivers depends on the source that it leads to",
            f"name that source instead: {PULSE_PREFIX}SOURCE, as `edgerec devices` lists it",
        )
    # One of several would be their mean: ALSA's plug makes mono so.
    opened = min(max(2, *channels), device.channels)
    return _opening(opened, [channel - 1 for channel in channels])


def parse_channels(text: str) -> Channels:
    """Read a number, or a list of numbers, as JSON.

    Raises
    ------
    ValueError
        It is neither.
    """
    channels = json.loads(text)
    if isinstance(channels, list) and channels:
        return tuple(map(int, channels))
    if isinstance(channels, int):
        return channels
    raise ValueError(f"{text!r} is neither a number of channels nor a list of some")


def stream_positions(count: int) -> tuple[str, ...]:
    """Return where ALSA's pulse plugin puts the channels of a stream of `count`."""
    named = _NAMED[max(known for known in _NAMED if known <= count)]
    return (*named, *(f"aux{number}" for number in range(count - len(named))))


def remap_command(channels: Sequence[int], device: DeviceInfo) -> str:
    """Return the pactl command that makes a new source of the picked channels of a source."""
    wanted = ",".join(device.positions[channel - 1] for channel in channels)
    return (
        f"pactl load-module module-remap-source source_name={REMAPPED} "
        f"master={device.pulse_source} channels={len(channels)} master_channel_map={wanted} "
        f"channel_map={','.join(stream_positions(len(channels)))} remix=no"
    )


def _plan_served(channels: tuple[int, ...], device: DeviceInfo, source: str) -> DeviceOpening:
    positions = device.positions
    if len(positions) != device.channels:
        raise ChannelError(
            f"the positions of the channels of {device.id} are unknown", str(why_no_answer())
        )
    if device.is_pipewire and positions == tuple(f"aux{n}" for n in range(len(positions))):
        opening = _opening(max(channels), [channel - 1 for channel in channels])
    else:
        opened = next(_enough(positions, aux=not device.is_pipewire), None)
        if opened is None:
            raise ChannelError(
                f"{source} has its channels at {','.join(positions)}, and the sound server would "
                "deliver others",
                f"{remap_command(channels, device)}; then set device: {PULSE_PREFIX}{REMAPPED} "
                f"and channels: {len(channels)}",
            )
        at = stream_positions(opened)
        opening = _opening(opened, [at.index(positions[channel - 1]) for channel in channels])
    return DeviceOpening(opening.opened, opening.taken, NO_REMIX if device.is_pipewire else "")


def _enough(positions: Sequence[str], *, aux: bool) -> Iterator[int]:
    """Yield each number of channels with which a stream has all these positions."""
    if len(set(positions)) < len(positions) or (_has_aux(positions) and not aux):
        return
    for count in range(1, STREAM_LIMIT + 1):
        if set(positions) <= set(stream_positions(count)):
            yield count


def _opening(opened: int, taken: Sequence[int]) -> DeviceOpening:
    return DeviceOpening(opened, None if list(taken) == list(range(opened)) else tuple(taken))


def _array(kind: str, pcm: Buffer) -> array[int]:
    samples = array(kind)
    samples.frombytes(memoryview(pcm).cast("B"))
    return samples


def _has_aux(positions: Sequence[str]) -> bool:
    return any(_AUX.fullmatch(position) for position in positions)
