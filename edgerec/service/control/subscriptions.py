"""Sends events to subscribers of the control socket, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from edgerec.service.control.protocol import Command, Stream, arguments
from edgerec.session.events import NAMES, EventBus, as_json, name_of
from edgerec.validation.constraints import Matches

BUT_LEVELS: Final = tuple(name for name in NAMES if name != "level")
_Name = Annotated[str, Matches("|".join(NAMES), f"that is one of: {', '.join(NAMES)}")]


@dataclass(frozen=True, slots=True)
class SubscribeArguments:
    """The events to send."""

    events: tuple[_Name, ...] = BUT_LEVELS


def subscribe_command(bus: EventBus) -> Command:
    """Return the command after which a connection receives a line for each event."""

    def subscribe(args: Mapping[str, object]) -> Stream:
        names = frozenset(arguments(SubscribeArguments, args).events)
        return Stream(lambda notify: Subscribed(bus, names, notify))

    return subscribe


class Subscribed:
    """The events that one connection is still to receive."""

    def __init__(self, bus: EventBus, names: frozenset[str], notify: Callable[[], None]) -> None:
        self._events = bus
        self._names = names
        self._reader = bus.subscribe({NAMES[name] for name in names}, notify=notify)

    @property
    def missed(self) -> int:
        """Number of events that were dropped for lack of room."""
        return self._reader.dropped

    def take(self) -> bytes | None:
        """Return the next line; None if there is none now."""
        while (event := self._reader.take()) is not None:
            if name_of(event) in self._names:
                return json.dumps(as_json(event)).encode() + b"\n"
        return None

    def close(self) -> None:
        """Stop taking in events."""
        self._events.unsubscribe(self._reader)
