"""The service's events, and their delivery to subscribers.

The recorder, writer and recovery threads announce; readers (handlers, hooks, `subscribe`) have a
bounded queue each. A reader that does not keep up loses events and learns how many; nothing waits
for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Literal

from edgerec.audio import TrackName
from edgerec.store.publish import Published
from edgerec.store.records.sidecar import EndReason

QUEUE_EVENTS: Final = 1000
"""Number of events a reader may leave waiting: minutes of a busy kiosk, about half a megabyte."""

RecorderState = Literal["idle", "waiting", "recording", "paused", "ending"]
"""`waiting`: for the first device; `ending`: for the last audio of a session that was stopped."""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A session has its files; announced once, before anything else of it."""

    session: str
    number: int
    kiosk: str
    sample_rate: int
    """Sampling rate of the session's timeline, in Hz."""
    monotonic_ns: int
    """Instant of the session's frame 0 on CLOCK_MONOTONIC."""


@dataclass(frozen=True, slots=True)
class SessionStopped:
    """A session is complete: all its files are published, this was the last of it.

    If publishing fails and another session waits, they are left to recovery and come later.
    """

    session: str
    number: int
    frames: int
    """Length of the session, missing frames included."""
    end_reason: EndReason


@dataclass(frozen=True, slots=True)
class FilePublished:
    """A chunk, track, turn or session record is under its final name."""

    published: Published


@dataclass(frozen=True, slots=True)
class GapDeclared:
    """A gap has ended, or the session with it; its frames are silence in the files."""

    session: str
    track: TrackName
    start: int
    """On the session's timeline."""
    frames: int
    reason: str
    """Reason of the gap, as in the sidecars."""


@dataclass(frozen=True, slots=True)
class FramesLost:
    """Frames that no file holds: the disk did not take them in time."""

    session: str
    start: int
    frames: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The recorder, a track's source, the disk or the audio itself has another state."""

    of: Literal["recorder", "user", "bot", "disk", "signal"]
    state: str
    """The new state: a `RecorderState`; of a track that of its `audio.SourceState`;
    of the disk `ok` or `failing`; of the signal `ok` or `wrong`."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """Level of a track at present; four times a second, while anyone subscribes to it."""

    track: TrackName
    start: int
    """On the session's timeline."""
    frames: int
    peak_dbfs: float | None
    """Peak level in dBFS; None: digital silence."""
    rms_dbfs: float | None


Event = (
    SessionStarted
    | SessionStopped
    | FilePublished
    | GapDeclared
    | FramesLost
    | StateChanged
    | Level
)


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


ALL_BUT_LEVELS: Final = frozenset(
    {SessionStarted, SessionStopped, FilePublished, GapDeclared, FramesLost, StateChanged}
)
