"""Which sources does the sound server have, that PortAudio doesn't list?

PulseAudio and PipeWire are asked through their own tools, where these are installed. Parsing is
apart from asking. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SERVER_TIMEOUT_S: Final = 2.0
"""A sound server answers in milliseconds; a frozen one never does."""

_SAMPLE_SPEC: Final = re.compile(r"(\d+)ch (\d+)Hz")


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


def read_sources() -> list[ServerSource]:
    """Ask the sound server; an absent or silent one has no sources.

    Raises
    ------
    SoundServerError
        Its answer can't be read.
    """
    for parse, command in (
        (parse_pactl_sources, ["pactl", "--format=json", "list", "sources"]),
        (parse_pw_dump, ["pw-dump"]),
    ):
        printed = _output(command)
        if printed is None:
            continue
        try:
            return parse(printed)
        except (ValueError, KeyError) as error:
            raise SoundServerError(
                f"reading what `{' '.join(command)}` printed: {error!r}"
            ) from error
    return []


def parse_pactl_sources(text: str) -> list[ServerSource]:
    """Read what ``pactl --format=json list sources`` prints."""
    sources = []
    for source in json.loads(text):
        spec = _SAMPLE_SPEC.search(source["sample_specification"])
        if spec is None:
            raise ValueError(f"pactl: sample_specification is {source['sample_specification']!r}")
        is_monitor = source["properties"].get("device.class") == "monitor"
        sources.append(
            ServerSource(
                source["name"], source["description"], int(spec[2]), int(spec[1]), is_monitor
            )
        )
    return sources


def parse_pw_dump(text: str) -> list[ServerSource]:
    """Read what ``pw-dump`` prints, into the names that PipeWire gives PulseAudio's clients.

    A sink is one more source, the monitor of what it plays. Where no format is set, PipeWire's
    usual 48 kHz stereo is assumed.
    """
    sources = []
    for item in json.loads(text):
        properties = (item.get("info") or {}).get("props") or {}
        is_monitor = properties.get("media.class") == "Audio/Sink"
        if not is_monitor and properties.get("media.class") != "Audio/Source":
            continue
        name = properties["node.name"]
        description = properties.get("node.description", name)
        sources.append(
            ServerSource(
                name=f"{name}.monitor" if is_monitor else name,
                description=f"Monitor of {description}" if is_monitor else description,
                sample_rate=int(properties.get("audio.rate", 48_000)),
                channels=int(properties.get("audio.channels", 2)),
                is_monitor=is_monitor,
            )
        )
    return sources


def _output(command: Sequence[str]) -> str | None:
    """Run a program that may not be installed, or find no server; None then."""
    # In a locale with decimal commas pactl prints numbers that are not JSON.
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SERVER_TIMEOUT_S, check=False, env=env
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
