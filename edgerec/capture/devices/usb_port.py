"""Names the USB port that a device is plugged into, and sources without their number of detection.

A port keeps its name as long as the cable stays in it, whatever is detected first. Two ports of one
controller share a name only if one of them takes USB 3 and the other USB 2: never twins'.
Without numpy: the capture child uses it.
"""

from __future__ import annotations

import re
from typing import Final

PORT_MARK: Final = "@usb-"
"""What separates a source's name from its USB port, see `name_by_port`."""

# Buses and xhci-hcd's devices are numbered in the order in which controllers are found: of a
# Raspberry Pi 5, `1f00300000.usb/xhci-hcd.1/usb3/3-1/3-1.2/3-1.2:1.0` is `1f00300000.usb`, `1.2`.
_PORT: Final = re.compile(
    r"/([^/]+)(?:/xhci-hcd\.\d+(?:\.auto)?)?/usb\d+/(?:[^/]+/)*\d+-([\d.]+):\d+\.\d+(?:/|$)"
)
# After the interface (`-00`) in WirePlumber's names of cards, at the end in those of all sources.
_NUMBERED: Final = re.compile(
    r"(.+?\.usb-.+?-[0-9a-f]{2})(?:\.\d+)?(\.\D.*?)(?:\.\d+)?(\.monitor)?"
)


def usb_port(path: str) -> str | None:
    """Return the port in a path below /sys/devices, such as ``usb-0000:01:00.0-1.3``.

    None where the device is not a USB one.
    """
    found = _PORT.search(path)
    return None if found is None else f"usb-{found[1]}-{found[2]}"


def unnumbered(source: str) -> str:
    """Return a source's name without the number that a sound server gives to USB twins."""
    found = _NUMBERED.fullmatch(source)
    return source if found is None else "".join(filter(None, found.groups()))


def name_by_port(source: str, port: str | None) -> str | None:
    """Return what a source is called by its port; None without one."""
    return None if port is None else f"{unnumbered(source)}@{port}"
