"""Events of a recorder, a frozen value each, and their delivery to readers.

The recorder, writer and recovery threads publish; handlers, hooks and `subscribe` have a bounded
queue each. A reader that does not keep up loses events and learns how many; nothing waits for it.
Frames are counted at the recording's rate from the session's frame 0 on.

To add an event: write its class here, add it to `Event` and `NAMES` (subscribers of the control
socket need no more), and publish it where it happens. For handlers add its name to
`api.handlers.HANDLED`, an overload to `Recorder.event_handler`, and the class to the public names
(`edgerec.api` and `edgerec.__all__`); for hooks a case to `service.hooks`. Describe it in
docs/contract.md.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

from edgerec.audio import AudioRefused as AudioRefused
from edgerec.audio import Played as Played
from edgerec.audio import TrackName
from edgerec.store.publish import FilePublished as FilePublished
from edgerec.store.records.sidecar import EndReason

QUEUE_EVENTS: Final = 1000
"""Number of events a reader may leave waiting: minutes of a busy kiosk, about half a megabyte."""

RecorderState = Literal["idle", "waiting", "recording", "paused", "ending"]
"""`waiting`: for the first device; `ending`: for the last audio of a session that was stopped."""


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """A session has its files; the first event of each session."""

    session: str
    """Id of the session, as in the names of its files."""
    session_number: int
    kiosk: str
    sample_rate: int
    """Sampling rate of everything written, in Hz."""
    monotonic_ns: int
    """Instant of the session's frame 0 on CLOCK_MONOTONIC (`time.monotonic_ns`)."""


@dataclass(frozen=True, slots=True)
class RecordingStopped:
    """A session is complete: all its files are published; the last event of each session.

    If publishing fails and another session waits, they are left to recovery and come later.
    """

    session: str
    session_number: int
    frames: int
    """Length of the session in frames, missing ones included."""
    end_reason: EndReason


@dataclass(frozen=True, slots=True)
class GapFound:
    """Frames that are missing: silence in the files, or in no file at all.

    Reported when the gap has ended, or the session with it.
    """

    session: str
    track: TrackName | None
    """Track of the gap; None: both tracks, in no file (the disk did not take them in time)."""
    start_frame: int
    frames: int
    reason: str
    """Reason of the gap, as in the sidecars (`xrun`, `stall`, `absent`, ...), or `disk`."""


@dataclass(frozen=True, slots=True)
class AudioLate:
    """Audio that came when silence was already committed in its place; no file holds it."""

    track: TrackName
    frames: int
    """Number of frames since the event before, at the recording's rate."""
    late_frames: int
    """Number of such frames in the session so far, as in the status."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The recorder, a track's source, the disk or the audio itself has another state."""

    of: Literal["recorder", "user", "bot", "disk", "signal"]
    state: str
    """The new state. Of the recorder a `RecorderState`: `idle`, `waiting` (for the first device),
    `recording`, `paused`, `ending`; of a track an `audio.SourceState`: `starting`, `running`,
    `stalled`, `absent`, `idle`; of the disk: `ok`, `failing`; of the signal (muted, stuck, clipped,
    identical tracks): `ok`, `wrong`."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """Level of a track at present; four times a second, while anyone subscribes to it."""

    track: TrackName
    start_frame: int
    frames: int
    peak_dbfs: float | None
    """Peak level in dBFS; None: digital silence."""
    rms_dbfs: float | None


Event = (
    RecordingStarted
    | RecordingStopped
    | FilePublished
    | GapFound
    | AudioLate
    | AudioRefused
    | StateChanged
    | Played
    | Level
)

NAMES: Final[Mapping[str, type[Event]]] = {
    "chunk": FilePublished,
    "track": FilePublished,
    "turn": FilePublished,
    "session": FilePublished,
    "gap": GapFound,
    "lost": GapFound,
    "late": AudioLate,
    "refused": AudioRefused,
    "state": StateChanged,
    "played": Played,
    "level": Level,
    "started": RecordingStarted,
    "stopped": RecordingStopped,
}
"""Events by their names in JSON; `name_of` tells those of a class apart."""
ALL_BUT_LEVELS: Final = frozenset(NAMES.values()) - {Level}

_JSON_FIELDS: Final = {"session_number": "number", "start_frame": "start", "path": "file"}


def name_of(event: Event) -> str:
    """Return the name that an event has in JSON."""
    match event:
        case FilePublished(kind=kind):
            return kind
        case GapFound(track=None):
            return "lost"
        case _:
            return next(name for name, kind in NAMES.items() if kind is type(event))


def as_json(event: Event) -> dict[str, object]:
    """Return an event as JSON values, as docs/contract.md describes them; `event` is its name."""
    told: dict[str, object] = {"event": name_of(event)}
    for field in fields(event):
        value = getattr(event, field.name)
        name = _JSON_FIELDS.get(field.name, field.name)
        told[name] = str(value) if isinstance(value, Path) else value
    match event:
        case FilePublished():
            del told["kind"]  # it is its name
            if event.turn is None:
                del told["turn"], told["exchange"]
        case GapFound(track=None):
            del told["track"], told["reason"]
    return told


class Subscription:
    """One reader's queue; `take` belongs to one thread of the reader's.

    Made by `EventBus.subscribe`.
    """

    def __init__(
        self, kinds: Collection[type[Event]], limit: int, notify: Callable[[], None]
    ) -> None:
        self._kinds = frozenset(kinds)
        self._limit = limit
        self._notify = notify
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()  # held for an append; never while anything else is waited for
        self.dropped = 0
        """Number of events that found the queue full, in all."""

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether events of a kind are for this reader."""
        return kind in self._kinds

    def take(self) -> Event | None:
        """Return the oldest event; None if there is none."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def put(self, event: Event) -> None:
        """Queue an event, or count it as dropped. For any thread."""
        if not self.wants(type(event)):
            return
        with self._lock:
            if len(self._waiting) >= self._limit:
                self.dropped += 1
                return
            self._waiting.append(event)
        self._notify()


class EventBus:
    """Distributes events to their subscribers; every method is for any thread, and never waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: tuple[Subscription, ...] = ()  # replaced as a whole

    def subscribe(
        self,
        kinds: Collection[type[Event]] | None = None,
        *,
        limit: int = QUEUE_EVENTS,
        notify: Callable[[], None] = lambda: None,
    ) -> Subscription:
        """Return a queue of the events from now on.

        Parameters
        ----------
        kinds
            Kinds of events; None: all but `Level`, which comes eight times a second.
        limit
            Number of events that may wait.
        notify
            Called in the announcing thread after each event queued; must not block or raise, such
            as `threading.Event.set`.
        """
        chosen = set(kinds) if kinds is not None else ALL_BUT_LEVELS
        reader = Subscription(chosen, limit, notify)
        with self._lock:
            self._readers = (*self._readers, reader)
        return reader

    def unsubscribe(self, reader: Subscription) -> None:
        """Stop sending events to a reader."""
        with self._lock:
            self._readers = tuple(one for one in self._readers if one is not reader)

    def wanted(self, kind: type[Event]) -> bool:
        """Tell whether anyone subscribes to a kind, before such events are made at a cost."""
        return any(reader.wants(kind) for reader in self._readers)

    def publish(self, event: Event) -> None:
        """Queue an event for every reader that wants it."""
        for reader in self._readers:
            reader.put(event)
