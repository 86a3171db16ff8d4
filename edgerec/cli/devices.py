"""List the inputs that can be recorded here, with their names for the configuration."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence

from edgerec.audio import TrackName
from edgerec.capture.devices.catalog import (
    DeviceError,
    DeviceInfo,
    list_devices,
    resolve,
    why_not_served,
)
from edgerec.cli.options import add_json, add_named_config
from edgerec.cli.output import note, print_json, say
from edgerec.cli.process import Exit
from edgerec.config import Config, TrackConfig, load_config

HELP = """List the inputs that can be recorded here. The id in the first column is what
`tracks.user.device` and `tracks.bot.device` take: it stays the same across boots and plugging; that
of identical USB devices, as long as each stays in its port."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_named_config(parser, "whose tracks' devices are marked")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the devices."""
    config = None if args.config is None else load_config(args.config, records=False)
    try:
        devices = list_devices()
    except DeviceError as error:
        note(f"edgerec devices: {error}; {error.hint}")
        return Exit.FAILED
    meant, missing = ({}, []) if config is None else _meant(config, devices)
    if args.json:
        print_json([_as_json(device, meant) for device in devices])
    elif devices:
        for line in _table(devices, meant):
            say(line)
    else:
        say("no input device")
    if not args.json and (why := why_not_served(devices)):
        note(f"edgerec devices: none of a sound server: {why}")
    for problem in missing:
        note(f"edgerec devices: {problem}")
    return Exit.FAILED if missing else Exit.DONE


def _meant(
    config: Config, devices: Sequence[DeviceInfo]
) -> tuple[dict[TrackName, DeviceInfo], list[str]]:
    """Return the device that each track means, and what is wrong with those that mean none."""
    meant: dict[TrackName, DeviceInfo] = {}
    missing = []
    tracks: dict[TrackName, TrackConfig] = {"user": config.tracks.user, "bot": config.tracks.bot}
    for name, track in tracks.items():
        if track.source == "portaudio":
            try:
                meant[name] = resolve(track.device, devices)
            except DeviceError as error:
                missing.append(f"tracks.{name}.device: {error}; {error.hint}")
    return meant, missing


def _as_json(device: DeviceInfo, meant: Mapping[TrackName, DeviceInfo]) -> dict[str, object]:
    fields = dataclasses.asdict(device)
    del fields["index"]  # good in this process only
    fields["id"] = device.stable_id
    return {**fields, "tracks": [name for name, one in meant.items() if one == device]}


def _table(devices: Sequence[DeviceInfo], meant: Mapping[TrackName, DeviceInfo]) -> list[str]:
    width = max(len(device.stable_id) for device in devices)
    return [
        f"{device.stable_id:{width}}  {_format(device)}  {_remarks(device, meant)}".rstrip()
        for device in devices
    ]


def _format(device: DeviceInfo) -> str:
    return f"{device.sample_rate:6} Hz  {device.channels:2} ch"


def _remarks(device: DeviceInfo, meant: Mapping[TrackName, DeviceInfo]) -> str:
    remarks = [device.name] if device.name != device.id else []
    if device.by_order and device.port_id:
        remarks.append(f"[today also {device.id}]")
    elif device.by_order:
        remarks.append("[its id goes by the order of detection]")
    if device.is_default:
        remarks.append("[default]")
    if device.loopback is not None:
        remarks.append(f"[loopback? {device.loopback}]")
    remarks += [f"[tracks.{name}]" for name, one in meant.items() if one == device]
    return " ".join(remarks)
