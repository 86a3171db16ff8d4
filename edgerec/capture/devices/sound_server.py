"""Queries PulseAudio and PipeWire for their sources, and for which process records from which.

Both are asked through their own tools, where these are installed. Parsing is separate from asking.
Without numpy: the capture child uses it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edgerec.capture.devices.alsa_cards import name_by_port, usb_port

MONITOR_SUFFIX: Final = ".monitor"
"""Suffix that both servers add to a sink's name for the source that hears what it plays."""

SERVER_TIMEOUT_S: Final = 2.0
"""Limit for an answer: a sound server answers in milliseconds; a frozen one never does."""

_LIST: Final = ["pactl", "--format=json", "list"]
# PipeWire without a sink prints @DEFAULT_SINK@, which no sink can be called.
_DEFAULT_SINK: Final = re.compile(r"^Default Sink: ([^@\s]\S*)$", re.MULTILINE)
_DEFAULT_SOURCE: Final = re.compile(r"^Default Source: ([^@\s]\S*)$", re.MULTILINE)
_UNPRINTED: Final = "(null)"  # what pactl up to 17 prints as JSON for text that is not ASCII
_DESCRIPTION: Final = re.compile(r"^\tName: (.*)\n\tDescription: (.*)$", re.MULTILINE)
_SAMPLE_SPEC: Final = re.compile(r"(\d+)ch (\d+)Hz")
_SOURCE_CLASSES: Final = ("Audio/Source", "Audio/Source/Virtual")
_SINK_CLASS: Final = "Audio/Sink"


class SoundServerError(Exception):
    """A sound server's tool printed what we can't read."""


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


def read_sources() -> list[ServerSource]:
    """Return the sound server's sources; none if there is no server, or it does not answer.

    Raises
    ------
    SoundServerError
        Its answer can't be read.
    """
    for parse, command in (
        (parse_pactl_sources, [*_LIST, "sources"]),
        (parse_pw_dump, ["pw-dump"]),
    ):
        printed = _output(command)
        if printed is None:
            continue
        try:
            sources = parse(printed)
        except (ValueError, KeyError, TypeError) as error:
            raise SoundServerError(
                f"reading what `{' '.join(command)}` printed: {error!r}"
            ) from error
        return _described(sources)
    return []


def _described(sources: list[ServerSource]) -> list[ServerSource]:
    """Fill in the descriptions that pactl can't put into JSON because they are not ASCII."""
    if all(source.description != _UNPRINTED for source in sources):
        return sources
    descriptions = dict(_DESCRIPTION.findall(_output(["pactl", "list", "sources"]) or ""))
    return [
        replace(source, description=descriptions.get(source.name, source.name))
        if source.description == _UNPRINTED
        else source
        for source in sources
    ]


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


def read_state(pids: Collection[int] = ()) -> ServerState | None:
    """Ask the sound server from which source each process records; None without an answer.

    Parameters
    ----------
    pids
        Processes of interest. Streams whose process PipeWire's ALSA plug-in does not report are
        found by the process id that PipeWire has from the kernel.

    Raises
    ------
    SoundServerError
        Its answer can't be read.
    """
    outputs = _output([*_LIST, "source-outputs"])
    sources = _output([*_LIST, "short", "sources"])
    if outputs is None or sources is None:
        return None
    try:
        state = parse_state(outputs, sources)
        if state.unnamed and not state.streams.keys() >= set(pids):
            dump = _output(["pw-dump"])
            state = parse_state(outputs, sources, parse_clients(dump)) if dump else state
    except (ValueError, KeyError, TypeError) as error:
        raise SoundServerError(f"reading what pactl or pw-dump printed: {error!r}") from error
    return state


@dataclass(frozen=True, slots=True)
class SoundServer:
    """The sound server that answers, and its defaults."""

    is_pipewire: bool
    default_sink: str | None
    """Default sink: where a program plays that names none."""
    default_source: str | None = None
    """Default source: what a program records that names none."""


def read_server() -> SoundServer | None:
    """Ask the sound server what it is; None without an answer."""
    info = _output(["pactl", "info"])
    if info is None:
        return None
    sink, source = _DEFAULT_SINK.search(info), _DEFAULT_SOURCE.search(info)
    return SoundServer("PipeWire" in info, sink[1] if sink else None, source[1] if source else None)


def read_default_source() -> str | None:
    """Ask for the default source; None without an answer.

    Raises
    ------
    SoundServerError
        The answer can't be read.
    """
    server = read_server()
    if server is not None:
        return server.default_source
    dump = _output(["pw-dump"])
    try:
        return None if dump is None else parse_default_source(dump)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SoundServerError(f"reading what pw-dump printed: {error!r}") from error


def pin_stream(stream: RecordingStream, sources: Collection[str]) -> bool:
    """Make PulseAudio leave a stream on its source when the default source changes.

    It does so with streams that were explicitly moved, whatever they requested when they began. So
    the stream is moved to another source and back, which takes 10 ms.

    Returns
    -------
    Whether it was moved. PipeWire needs none: it moves no stream that has requested a source.
    """
    other = next((name for name in sorted(sources) if name != stream.source), None)
    server = read_server()
    if other is None or stream.source is None or server is None or server.is_pipewire:
        return False
    for source in (other, stream.source):
        if _output(["pactl", "move-source-output", str(stream.index), source]) is None:
            return False
    return True


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


def _output(command: Sequence[str]) -> str | None:
    """Run a program; None if it is not installed, can't be started, or finds no server."""
    # In a locale with decimal commas pactl prints numbers that are not JSON.
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SERVER_TIMEOUT_S, check=False, env=env
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Names from here get into sidecars and answers, which are UTF-8.
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
