"""Converts the service's announcements to calls of a program's handlers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, get_args

from edgerec.api import events
from edgerec.api.audio_data import AudioData, TrackAudioData
from edgerec.api.dispatcher import Call, Handler
from edgerec.api.events import EventName
from edgerec.api.held_file import HeldFiles
from edgerec.audio import TrackName
from edgerec.config import RecordingConfig
from edgerec.session import events as announcements
from edgerec.session.events import Subscription
from edgerec.store.publish import Published

_TURNS: Final[dict[str, EventName]] = {
    "turn-user": "on_user_turn_audio_data",
    "turn-bot": "on_bot_turn_audio_data",
}


class HandlerError(Exception):
    """A handler that would never be called; the message says what to do about it."""


class Handlers:
    """The functions that a program has registered, by event; for any thread."""

    def __init__(self, recording: RecordingConfig) -> None:
        self._recording = recording
        self._by_name: dict[EventName, tuple[tuple[Handler, Callable[..., object]], ...]] = {}

    def check(self, name: str) -> None:
        """Make sure that an event exists with this configuration.

        Raises
        ------
        HandlerError
            It does not.
        """
        names = get_args(EventName)
        hint = None
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names)}"
        elif name == "on_track_audio_data":
            if self._recording.num_channels != 2 and not self._recording.separate_tracks:
                hint = "needs recording.num_channels: 2, or separate_tracks: true"
        elif name in _TURNS.values() and not self._recording.enable_turn_audio:
            hint = "needs recording.enable_turn_audio: true"
        if hint is not None:
            raise HandlerError(f"event {name!r}: {hint}")

    def add(self, name: EventName, function: Callable[..., object]) -> None:
        """Register a function to call for an event, after those registered before."""
        handler = Handler(f"{name}:{getattr(function, '__qualname__', repr(function))}")
        self._by_name[name] = (*self._by_name.get(name, ()), (handler, function))

    def calls(self, name: EventName, *arguments: object) -> list[Call]:
        """Return what is to be called for an event."""
        return [
            Call(handler, partial(function, *arguments))
            for handler, function in self._by_name.get(name, ())
        ]


class Relay:
    """Announcements in, calls of handlers out; for the dispatcher's thread.

    Parameters
    ----------
    recorder
        The first argument of every handler.
    stereo
        Whether chunks have a channel for each track, so that both can be read from one file.
    """

    def __init__(
        self,
        recorder: object,
        handlers: Handlers,
        subscription: Subscription,
        held: HeldFiles,
        *,
        stereo: bool,
    ) -> None:
        self._recorder = recorder
        self._handlers = handlers
        self._subscription = subscription
        self._held = held
        self._stereo = stereo
        self._tracks: dict[TrackName, AudioData] = {}  # one track of a chunk, without the other yet

    def next(self) -> Sequence[Call] | None:
        """Return the calls for the next announcement; None if there is none."""
        announced = self._subscription.take()
        if announced is None:
            return None
        return [
            call
            for name, event in self._events(announced)
            for call in self._handlers.calls(name, self._recorder, event)
        ]

    def _events(self, announced: announcements.Event) -> Iterator[tuple[EventName, object]]:
        match announced:
            case announcements.SessionStarted(session, number, kiosk, rate, monotonic_ns):
                started = events.RecordingStarted(session, number, kiosk, rate, monotonic_ns)
                yield "on_recording_started", started
            case announcements.SessionStopped(session, number, frames, reason):
                self._tracks.clear()
                stopped = events.RecordingStopped(session, number, frames, reason)
                yield "on_recording_stopped", stopped
            case announcements.FilePublished(published):
                yield from self._audio(published)
                yield "on_published", _published(published)
            case announcements.GapDeclared(session, track, start, frames, reason):
                yield "on_gap", events.GapFound(session, track, start, frames, reason)
            case announcements.FramesLost(session, start, frames):
                yield "on_gap", events.GapFound(session, None, start, frames, "disk")
            case announcements.StateChanged(of, state, detail):
                yield "on_state", events.StateChanged(of, state, detail)

    def _audio(self, published: Published) -> Iterator[tuple[EventName, object]]:
        if published.kind == "session":
            return
        data = AudioData(published, self._held.release(published))
        if published.kind == "turn":
            yield _TURNS[published.what], data
        elif published.kind == "chunk":
            yield "on_audio_data", data
            if self._stereo:
                yield "on_track_audio_data", TrackAudioData(data, data)
        elif not self._stereo and (published.what == "user" or published.what == "bot"):
            self._tracks[published.what] = data
            if {one.sequence for one in self._tracks.values()} != {data.sequence}:
                self._tracks = {published.what: data}  # the other one's event was dropped
            if len(self._tracks) == 2:
                yield "on_track_audio_data", TrackAudioData(**self._tracks)
                self._tracks = {}


def _published(published: Published) -> events.FilePublished:
    return events.FilePublished(
        path=published.path,
        sidecar=published.sidecar,
        kind=published.kind,
        sequence=published.sequence,
        start_frame=published.start,
        frames=published.frames,
        end_reason=published.end_reason,
    )
