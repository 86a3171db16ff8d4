"""Reads from the kernel which ALSA cards there are, on which USB ports, and who records from them.

The kernel makes a card's id of its name, and numbers those that are taken (`Device`, `Device_1`) in
the order in which the cards are detected. A USB port keeps its name as long as the cable stays in
it. Two ports of one controller share a name only if one of them takes USB 3 and the other USB 2:
never twins'. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgerec import kernel

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


ALSA_FOLDER: Final = Path("/proc/asound")
ALSA_CARDS_FILE: Final = ALSA_FOLDER / "cards"
CARD_LINKS: Final = Path("/sys/class/sound")
ALSA_PREFIX: Final = "alsa:"
ALOOP_DRIVER: Final = "Loopback"
"""Driver of snd-aloop's cards; the module makes them all at once, so their numbers are fixed."""

_CARD: Final = re.compile(r"^\s*(\d+) \[(\S+)\s*\]: (\S+)(?: - (.*))?$", re.MULTILINE)
_ID: Final = re.compile(r"alsa:([^/,]+),(\d+)")
_OWNER: Final = re.compile(r"^owner_pid\s*: (\d+)", re.MULTILINE)
_NUMBER: Final = re.compile(r"(.+)(_[0-9A-F]{1,3})")  # sound/core/init.c: "_%X"
_ID_CHARACTERS: Final = 15  # struct snd_card: char id[16]


@dataclass(frozen=True, slots=True)
class AlsaCard:
    """A card of /proc/asound/cards."""

    id: str
    driver: str
    name: str = ""
    by_order: bool = False
    """Whether the id goes by the order in which this card and others were detected."""
    port: str | None = None
    """USB port of the card, as `usb_port` names it; None: not a USB card, or not known."""


def read_alsa_cards(
    cards_file: Path = ALSA_CARDS_FILE, links: Path = CARD_LINKS
) -> dict[int, AlsaCard]:
    """Return the cards by their number of today; none on a machine without ALSA."""
    try:
        cards = parse_alsa_cards(kernel.read_text(cards_file))
    except FileNotFoundError:
        return {}
    return {
        number: replace(card, port=usb_port(os.path.realpath(links / f"card{number}" / "device")))
        for number, card in cards.items()
    }


def parse_alsa_cards(text: str) -> dict[int, AlsaCard]:
    """Read /proc/asound/cards: the cards by their number of today, without their ports."""
    cards = {int(number): AlsaCard(*fields) for number, *fields in _CARD.findall(text)}
    numbered = {card.id for card in cards.values() if _is_numbered(card)}
    return {
        number: replace(card, by_order=card.id in numbered or _is_first(card, numbered))
        for number, card in cards.items()
    }


def alsa_owner(wanted: str, folder: Path = ALSA_FOLDER, links: Path = CARD_LINKS) -> int | None:
    """Return the process that records from an ALSA card; PortAudio does not list what is busy."""
    return next(iter(alsa_streams(wanted, folder, links)), None)


def alsa_streams(
    wanted: str, folder: Path = ALSA_FOLDER, links: Path = CARD_LINKS
) -> dict[int, Path]:
    """Return the processes that record from an ALSA card, and what the kernel says of each."""
    named = _ID.fullmatch(wanted)
    if named is None:
        return {}
    cards = read_alsa_cards(folder / "cards", links).values()
    card = next((card.id for card in cards if card.port == named[1]), named[1])
    streams = {}
    for status in folder.glob(f"{card}/pcm{named[2]}c/sub*/status"):
        with contextlib.suppress(OSError):  # it has just gone
            if owner := _OWNER.search(kernel.read_text(status)):
                streams[int(owner[1])] = status
    return streams


def _is_numbered(card: AlsaCard) -> bool:
    """Whether the kernel has numbered an id: what a udev rule sets is not made of the name."""
    found = None if card.driver == ALOOP_DRIVER else _NUMBER.fullmatch(card.id)
    return found is not None and found[1] in "".join(filter(str.isalnum, card.name))


def _is_first(card: AlsaCard, numbered: set[str]) -> bool:
    """Whether another card has been numbered as this one has its id."""
    numbers = (found[2] for id_ in numbered if (found := _NUMBER.fullmatch(id_)))
    return any(card.id[: _ID_CHARACTERS - len(n)] + n in numbered for n in numbers)
