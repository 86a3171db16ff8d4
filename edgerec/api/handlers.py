"""The handlers that a program has registered, and the calls of them that an event needs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from edgerec.api.audio_data import AudioData, TrackAudioData
from edgerec.api.dispatcher import Call, Handler
from edgerec.api.held_file import HeldFiles
from edgerec.audio import TrackName
from edgerec.config import RecordingConfig
from edgerec.session.events import (
    AudioLate,
    AudioRefused,
    Event,
    FilePublished,
    GapFound,
    Played,
    RecordingStarted,
    RecordingStopped,
    StateChanged,
)

HANDLED: Final[Mapping[type[Event], str]] = {
    RecordingStarted: "on_recording_started",
    RecordingStopped: "on_recording_stopped",
    GapFound: "on_gap",
    FilePublished: "on_published",
    StateChanged: "on_state",
    Played: "on_played",
    AudioLate: "on_late",
    AudioRefused: "on_refused",
}
"""Events that handlers receive as they are, with the names to register for."""
_TURNS: Final = {
    "turn-user": "on_user_turn_audio_data",
    "turn-bot": "on_bot_turn_audio_data",
}
NAMES: Final = ("on_audio_data", "on_track_audio_data", *_TURNS.values(), *HANDLED.values())
"""Names of all events that handlers can be registered for."""


class HandlerError(Exception):
    """A handler that would never be called; the message says what to do about it."""


class Handlers:
    """The functions that a program has registered, by event; for any thread."""

    def __init__(self, recording: RecordingConfig) -> None:
        self.recording = recording
        self._by_name: dict[str, tuple[Handler, ...]] = {}

    def check(self, name: str) -> None:
        """Make sure that an event exists with this configuration.

        Raises
        ------
        HandlerError
            It does not.
        """
        hint = None
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(NAMES)}"
        elif name == "on_track_audio_data":
            if self.recording.num_channels != 2 and not self.recording.separate_tracks:
                hint = "needs recording.num_channels: 2, or separate_tracks: true"
        elif name in _TURNS.values() and not self.recording.enable_turn_audio:
            hint = "needs recording.enable_turn_audio: true"
        if hint is not None:
            raise HandlerError(f"event {name!r}: {hint}")

    def add(self, name: str, function: Callable[..., object]) -> None:
        """Register a function to call for an event, after those registered before."""
        shown = f"{name}:{getattr(function, '__qualname__', repr(function))}"
        self._by_name[name] = (*self._by_name.get(name, ()), Handler(shown, function))

    def of(self, name: str) -> tuple[Handler, ...]:
        """Return the handlers of an event, in the order to call them in."""
        return self._by_name.get(name, ())


class Relay:
    """Events in, calls of handlers out; for the dispatcher's thread.

    Parameters
    ----------
    recorder
        The first argument of every handler.
    """

    def __init__(self, recorder: object, handlers: Handlers, held: HeldFiles) -> None:
        self._recorder = recorder
        self._handlers = handlers
        self.held = held
        self._tracks: dict[TrackName, AudioData] = {}  # one track of a chunk, without the other yet

    def calls(self, event: Event) -> Iterator[Call]:
        """Yield the calls that an event needs."""
        for name, told in self._told(event):
            for handler in self._handlers.of(name):
                yield Call(handler, self._recorder, told)

    def _told(self, event: Event) -> Iterator[tuple[str, object]]:
        if isinstance(event, RecordingStopped):
            self._tracks.clear()
        elif isinstance(event, FilePublished):
            yield from self._audio(event)
        if type(event) in HANDLED:
            yield HANDLED[type(event)], event

    def _audio(self, published: FilePublished) -> Iterator[tuple[str, object]]:
        """Yield what handlers of audio receive, before those of `on_published`."""
        if published.kind == "session":
            return
        data = AudioData(published, self.held.release(published))
        stereo = self._handlers.recording.num_channels == 2
        if published.kind == "turn":
            yield _TURNS[published.what], data
        elif published.kind == "chunk":
            yield "on_audio_data", data
            if stereo:
                yield "on_track_audio_data", TrackAudioData(data, data)
        elif not stereo and (published.what == "user" or published.what == "bot"):
            self._tracks[published.what] = data
            if {one.sequence for one in self._tracks.values()} != {data.sequence}:
                self._tracks = {published.what: data}  # the other one's event was dropped
            if len(self._tracks) == 2:
                yield "on_track_audio_data", TrackAudioData(**self._tracks)
                self._tracks = {}
