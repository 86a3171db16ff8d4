"""Reads what PulseAudio and PipeWire print of their sources, and of who records from which.

Pure; `sound_server` asks for it. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgerec.capture.devices.alsa_cards import name_by_port, usb_port

MONITOR_SUFFIX: Final = ".monitor"
"""Suffix that both servers add to a sink's name for the source that hears what it plays."""

_SAMPLE_SPEC: Final = re.compile(r"(\d+)ch (\d+)Hz")
_SOURCE_CLASSES: Final = ("Audio/Source", "Audio/Source/Virtual")
_SINK_CLASS: Final = "Audio/Sink"


@dataclass(frozen=True, slots=True)
class ServerSource:
    """A source of the sound server."""

    name: str
    description: str
    sample_rate: int
    channels: int
    is_monitor: bool
    is_pipewire: bool
    """Whether the server is PipeWire."""
    positions: tuple[str, ...] = ()
    """Positions of its channels, in PulseAudio's terms; empty where unknown."""
    name_by_port: str | None = None
    """Name by its USB port, see `usb_port`; None: not of a USB device, or not known."""


@dataclass(frozen=True, slots=True)
class RecordingStream:
    """A recording stream of a process, as the sound server knows it."""

    index: int
    """Index of the stream on the server."""
    source: str | None
    """Name of its source; None while it has none: the source has gone, or the stream is new."""
    source_index: int
    """Index of the source on the server; it changes when the source is removed and added again."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """The sound server's sources, and the processes that record them."""

    streams: Mapping[int, RecordingStream]
    """Streams by process id; of several streams the last one."""
    sources: frozenset[str]
    unnamed: bool = False
    """Whether there are PipeWire streams that don't say which process they belong to."""


def parse_state(
    outputs: str, sources: str, clients: Mapping[str, int] | None = None
) -> ServerState:
    """Read ``pactl --format=json list source-outputs`` and ``... short sources``.

    Parameters
    ----------
    clients
        Process ids by PipeWire's client numbers, for streams that don't report their process.
    """
    names = {source["index"]: source["name"] for source in json.loads(sources)}
    streams, unnamed = {}, False
    for output in json.loads(outputs):
        pid = output["properties"].get("application.process.id")
        client = output["properties"].get("client.id")
        # Streams of PipeWire's own modules belong to no client that pactl knows of.
        if pid is None and client is not None and output.get("client") is not None:
            unnamed = True
            pid = (clients or {}).get(client)
        if pid is not None:
            source = output["source"]
            streams[int(pid)] = RecordingStream(output["index"], names.get(source), source)
    return ServerState(streams, frozenset(names.values()), unnamed)


def parse_clients(dump: str) -> dict[str, int]:
    """Read the process of each client, by its number, from what ``pw-dump`` prints.

    It comes from the kernel: a client's own claim may be missing or wrong.
    """
    clients = {}
    for item in json.loads(dump):
        pid = _properties(item).get("pipewire.sec.pid")
        if str(item["type"]).endswith(":Client") and pid is not None:
            clients[str(item["id"])] = int(pid)
    return clients


def parse_default_source(dump: str) -> str | None:
    """Read the default source from what ``pw-dump`` prints; None if there is none."""
    items = json.loads(dump)
    defaults = [
        entry["value"]["name"]
        for item in items
        for entry in item.get("metadata") or []
        if entry["key"] == "default.audio.source"
    ]
    if not defaults:
        return None
    sinks = {
        _properties(item).get("node.name")
        for item in items
        if _properties(item).get("media.class") == _SINK_CLASS
    }
    return defaults[-1] + MONITOR_SUFFIX if defaults[-1] in sinks else str(defaults[-1])


def _properties(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return (item.get("info") or {}).get("props") or {}


def parse_pactl_sources(text: str) -> list[ServerSource]:
    """Read what ``pactl --format=json list sources`` prints."""
    sources = []
    for source in json.loads(text):
        spec = _SAMPLE_SPEC.search(source["sample_specification"])
        if spec is None:
            raise ValueError(f"pactl: sample_specification is {source['sample_specification']!r}")
        sources.append(
            ServerSource(
                name=source["name"],
                description=source["description"],
                sample_rate=int(spec[2]),
                channels=int(spec[1]),
                is_monitor=source["properties"].get("device.class") == "monitor",
                is_pipewire=source["driver"] == "PipeWire",
                positions=tuple(source["channel_map"].split(",")),
                name_by_port=name_by_port(
                    source["name"], usb_port(source["properties"].get("sysfs.path", ""))
                ),
            )
        )
    return sources


def parse_pw_dump(text: str) -> list[ServerSource]:
    """Read what ``pw-dump`` prints, into the names that PipeWire gives PulseAudio's clients.

    A sink is one more source, the monitor of what it plays. Where no format is set, PipeWire's
    usual 48 kHz stereo is assumed.
    """
    sources = []
    items = json.loads(text)
    paths = {item.get("id"): _properties(item).get("device.sysfs.path", "") for item in items}
    for item in items:
        properties = _properties(item)
        media_class = properties.get("media.class")
        is_monitor = media_class == _SINK_CLASS
        if not is_monitor and media_class not in _SOURCE_CLASSES:
            continue
        node = properties["node.name"]
        name = f"{node}{MONITOR_SUFFIX}" if is_monitor else node
        description = properties.get("node.description", node)
        sources.append(
            ServerSource(
                name=name,
                description=f"Monitor of {description}" if is_monitor else description,
                sample_rate=int(properties.get("audio.rate", 48_000)),
                channels=int(properties.get("audio.channels", 2)),
                is_monitor=is_monitor,
                is_pipewire=True,
                name_by_port=name_by_port(
                    name, usb_port(paths.get(properties.get("device.id"), ""))
                ),
            )
        )
    return sources
