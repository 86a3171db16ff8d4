"""Which inputs can be recorded here, and what is each to be called in the configuration?"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from edgerec.capture.devices import DeviceError, DeviceInfo, list_devices
from edgerec.cli.exits import Exit
from edgerec.cli.options import add_json
from edgerec.cli.output import print_json

HELP = """List the inputs that can be recorded here. The id in the first column is what
`tracks.user.device` and `tracks.bot.device` take: it stays the same across boots and plugging."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the devices."""
    try:
        devices = list_devices()
    except DeviceError as error:
        print(f"edgerec devices: {error}; {error.hint}", file=sys.stderr)
        return Exit.FAILED
    if args.json:
        print_json([_as_json(device) for device in devices])
    elif devices:
        print("\n".join(_table(devices)))
    else:
        print("no input device")
    return Exit.DONE


def _as_json(device: DeviceInfo) -> dict[str, object]:
    fields = dataclasses.asdict(device)
    del fields["index"]  # good in this process only
    return fields


def _table(devices: Sequence[DeviceInfo]) -> list[str]:
    width = max(len(device.id) for device in devices)
    return [
        f"{device.id:{width}}  {_format(device)}  {_remarks(device)}".rstrip() for device in devices
    ]


def _format(device: DeviceInfo) -> str:
    return f"{device.sample_rate:6} Hz  {device.channels:2} ch"


def _remarks(device: DeviceInfo) -> str:
    remarks = [device.name] if device.name != device.id else []
    if device.is_default:
        remarks.append("[default]")
    if device.loopback is not None:
        remarks.append(f"[loopback? {device.loopback}]")
    return " ".join(remarks)
