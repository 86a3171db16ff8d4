"""Finds a recording stream's place in PipeWire's graph from the output of ``pw-dump``.

PipeWire reports no latency of a stream, but its cycles are regular: in the cycle that begins at an
instant, a microphone's last quantum has been captured by then, and a loudspeaker is given the
quantum that it plays from then on. Its monitor delivers that quantum in the same cycle, or, where
the loudspeaker itself drives the graph, in the next one. So the driver and the length of a quantum
determine when what arrives was captured or is played; see docs/synchronisation.md. Without numpy:
the capture child uses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_RATE: Final = 48_000
DEFAULT_QUANTUM: Final = 1024
LEAST_QUANTUM: Final = 32
MOST_QUANTUM: Final = 2048
"""PipeWire's own settings, where its metadata does not show others."""
LOOPBACK_GROUP: Final = "loopback-"
"""Prefix of the link group of a remapped source, which adds no cycle."""
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError)
"""Exceptions raised where a text is not what ``pw-dump`` prints."""
MAX_CHAIN: Final = 8
"""Maximum length of a chain of virtual sources; a longer one is not followed."""


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """How the audio that a stream delivers relates to the instant at which it arrives."""

    later_us: int
    """Offset of the newest frame's capture, or playback, from the cycle in which it arrives."""
    doubt_us: int
    """Error of the offset: 0 where everything on the path is known."""
    quantum: int
    """Length of a cycle, in frames of the graph."""
    rate: int
    """Rate of the graph, in Hz: a stream of another rate is resampled."""

    @property
    def quantum_us(self) -> int:
        """Length of a cycle."""
        return self.quantum * 1_000_000 // self.rate


@dataclass(frozen=True, slots=True)
class _Node:
    id: int
    properties: Mapping[str, Any]
    is_running: bool

    def text(self, key: str) -> str:
        return str(self.properties.get(key, ""))

    @property
    def is_sink(self) -> bool:
        return self.text("media.class") == "Audio/Sink"

    @property
    def is_driver(self) -> bool:
        return self.properties.get("node.driver") in (True, "true")

    @property
    def rank(self) -> tuple[int, int]:
        """Order in which PipeWire takes drivers: by priority, then the one that was there first."""
        return -_whole(self.properties.get("priority.driver")), _whole(
            self.properties.get("object.serial")
        )


@dataclass(slots=True)
class _Graph:
    nodes: dict[int, _Node] = field(default_factory=dict)
    links: list[tuple[int, int]] = field(default_factory=list)  # (output node, input node)
    settings: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)  # by client, as the kernel reports them

    def stream_of(self, pid: int) -> _Node | None:
        """Return the node by which a process records; the newest one of several."""
        found = None
        for node in self.nodes.values():
            if node.text("media.class") != "Stream/Input/Audio":
                continue
            own = node.text("application.process.id") == str(pid)
            if own or self.pids.get(node.text("client.id")) == pid:
                found = node
        return found

    def source_of(self, node: _Node) -> _Node | None:
        """Return the node that another one records."""
        before = [output for output, input_ in self.links if input_ == node.id]
        return self.nodes.get(before[0]) if before else None

    def group_of(self, node: _Node) -> list[_Node]:
        """Return all nodes that run in the same cycles as one."""
        same: dict[object, set[int]] = {}
        for output, input_ in self.links:
            same[output, input_] = {output, input_}
        for one in self.nodes.values():
            for key in ("node.link-group", "node.group"):
                if one.text(key):
                    same.setdefault((key, one.text(key)), set()).add(one.id)
        group, grows = {node.id}, True
        while grows:
            joined = [ids for ids in same.values() if ids & group and not ids <= group]
            group.update(*joined)
            grows = bool(joined)
        return [self.nodes[id_] for id_ in sorted(group) if id_ in self.nodes]

    @property
    def rate(self) -> int:
        settings = self.settings
        return settings.get("clock.force-rate") or settings.get("clock.rate") or DEFAULT_RATE

    def quantum(self, group: Iterable[_Node]) -> int:
        """Return the frames in a cycle of some nodes: the smallest number that any requests."""
        forced = self.settings.get("clock.force-quantum")
        if forced:
            return forced
        asked = [
            frames
            for node in group
            if node.is_running and (frames := self._asked(node.text("node.latency")))
        ]
        quantum = min(asked) if asked else self.settings.get("clock.quantum", DEFAULT_QUANTUM)
        quantum = min(quantum, self.settings.get("clock.max-quantum", MOST_QUANTUM))
        quantum = max(quantum, self.settings.get("clock.min-quantum", LEAST_QUANTUM), 1)
        return 1 << (quantum.bit_length() - 1)

    def _asked(self, latency: str) -> int:
        frames, _, rate = latency.partition("/")
        return _whole(frames) * self.rate // _whole(rate) if _whole(rate) else 0


def clock_rate(dump: str) -> int:
    """Return the rate of the graph, in Hz. Raises the same as `stream_place`."""
    return _parse(dump).rate


def stream_place(dump: str, pid: int) -> StreamPlace | None:
    """Find the place of a process's recording stream in what ``pw-dump`` prints.

    Returns
    -------
    None while it is not linked to a source.

    Raises
    ------
    UNREADABLE
        The text is not what ``pw-dump`` prints.
    """
    graph = _parse(dump)
    stream = graph.stream_of(pid)
    if stream is None:
        return None
    source, is_plain = _origin(graph, stream)
    if source is None:
        return None
    group = graph.group_of(stream)
    quantum = graph.quantum(group)
    quantum_us = quantum * 1_000_000 // graph.rate
    drivers = sorted((node for node in group if node.is_driver), key=lambda node: node.rank)
    is_virtual = source.text("factory.name") == "support.null-audio-sink"
    later_us = 0
    if source.is_sink and (not drivers or drivers[0].id != source.id):
        later_us = quantum_us
    is_known = is_plain and is_virtual and bool(drivers)
    return StreamPlace(later_us, 0 if is_known else quantum_us, quantum, graph.rate)


def _origin(graph: _Graph, stream: _Node) -> tuple[_Node | None, bool]:
    """Return where a stream's audio comes from, and whether all between adds no cycle."""
    source, is_plain = graph.source_of(stream), True
    for _ in range(MAX_CHAIN):
        if source is None or source.is_sink or not source.text("node.link-group"):
            return source, is_plain
        link_group = source.text("node.link-group")
        is_plain = is_plain and link_group.startswith(LOOPBACK_GROUP)
        inner = [
            node
            for node in graph.nodes.values()
            if node.text("node.link-group") == link_group
            and node.text("media.class") == "Stream/Input/Audio"
        ]
        if not inner:
            return source, False
        source = graph.source_of(inner[0])
    return source, False


def _parse(dump: str) -> _Graph:
    graph = _Graph()
    for item in json.loads(dump):
        kind = str(item["type"]).rpartition(":")[2]
        info = item.get("info") or {}
        properties = info.get("props") or {}
        if kind == "Node":
            node = _Node(item["id"], properties, info.get("state") == "running")
            graph.nodes[node.id] = node
        elif kind == "Link":
            graph.links.append((info["output-node-id"], info["input-node-id"]))
        elif kind == "Client" and "pipewire.sec.pid" in properties:
            graph.pids[str(item["id"])] = _whole(properties["pipewire.sec.pid"])
        for entry in item.get("metadata") or []:
            if str(entry["key"]).startswith("clock."):
                graph.settings[entry["key"]] = _whole(entry["value"])
    return graph


def _whole(value: object) -> int:
    """Return a number that PipeWire gives as one or as text; 0 where it is none."""
    try:
        return int(str(value))
    except ValueError:
        return 0
