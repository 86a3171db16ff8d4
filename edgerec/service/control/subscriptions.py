"""Sends events to subscribers of the control socket, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from edgerec.service.control.protocol import Command, EventStream
from edgerec.session.events import (
    Event,
    EventBus,
    FilePublished,
    FramesLost,
    GapDeclared,
    Level,
    SessionStarted,
    SessionStopped,
    StateChanged,
)
from edgerec.store.publish import Published
from edgerec.wire.messages import RefusedError

KINDS: Final[Mapping[str, type[Event]]] = {
    "chunk": FilePublished,
    "track": FilePublished,
    "turn": FilePublished,
    "session": FilePublished,
    "gap": GapDeclared,
    "lost": FramesLost,
    "state": StateChanged,
    "level": Level,
    "started": SessionStarted,
    "stopped": SessionStopped,
}
"""Announced events by the name that their line has."""
BUT_LEVELS: Final = tuple(name for name in KINDS if name != "level")


def subscribe_command(bus: EventBus) -> Command:
    """Return the command after which a connection receives a line for each event."""

    def subscribe(args: Mapping[str, object]) -> EventStream:
        names = _names(args)
        kinds = {KINDS[name] for name in names}

        def line(event: Event) -> bytes | None:
            told = event_as_json(event)
            return json.dumps(told).encode() + b"\n" if told["event"] in names else None

        def open_(notify: Callable[[], None]) -> Subscribed:
            return Subscribed(bus, kinds, line, notify)

        return EventStream(open_)

    return subscribe


class Subscribed:
    """The events that one connection is still to receive."""

    def __init__(
        self,
        bus: EventBus,
        kinds: set[type[Event]],
        line: Callable[[Event], bytes | None],
        notify: Callable[[], None],
    ) -> None:
        self._events = bus
        self._line = line
        self._reader = bus.subscribe(kinds, notify=notify)

    @property
    def missed(self) -> int:
        """Number of events that were dropped for lack of room."""
        return self._reader.dropped

    def take(self) -> bytes | None:
        """Return the next line; None if there is none now."""
        while (event := self._reader.take()) is not None:
            line = self._line(event)
            if line is not None:
                return line
        return None

    def close(self) -> None:
        """Stop taking in events."""
        self._events.unsubscribe(self._reader)


def event_as_json(event: Event) -> dict[str, object]:
    """Return an event as JSON values; `event` is its name."""
    match event:
        case FilePublished(published):
            return _file(published)
        case GapDeclared():
            name = "gap"
        case FramesLost():
            name = "lost"
        case StateChanged():
            name = "state"
        case Level():
            name = "level"
        case SessionStarted():
            name = "started"
        case SessionStopped():
            name = "stopped"
    return {"event": name, **{field: getattr(event, field) for field in event.__slots__}}


def _file(published: Published) -> dict[str, object]:
    return {
        "event": published.kind,
        "session": published.session,
        "file": str(published.path),
        "sidecar": str(published.sidecar),
        "what": published.what,
        "sequence": published.sequence,
        "start": published.start,
        "frames": published.frames,
        "end_reason": published.end_reason,
    }


def _names(args: Mapping[str, object]) -> frozenset[str]:
    unknown = [name for name in args if name != "events"]
    if unknown:
        raise RefusedError("bad_args", f"no field {unknown[0]!r:.80}", "there are: events")
    names = args.get("events", BUT_LEVELS)
    if not isinstance(names, list | tuple) or not all(
        isinstance(name, str) and name in KINDS for name in names
    ):
        told = f"events is {names!r:.80}"
        raise RefusedError("bad_args", told, f"a list of: {', '.join(KINDS)}")
    return frozenset(names)
