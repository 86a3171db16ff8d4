"""The recorder for programs: start, stop, push audio, and register handlers of events."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar, overload

from edgerec.api.audio_data import AudioData, TrackAudioData
from edgerec.api.dispatcher import EventCounts, HandlerCounts
from edgerec.api.feeding import Feeding, Pushed
from edgerec.api.handlers import Handlers, Relay
from edgerec.api.held_file import HeldFiles
from edgerec.api.live_tap import Tap
from edgerec.api.running import Running, open_devices
from edgerec.audio import STREAMS, Played, StreamName, TrackName
from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.engine.engine import Engine
from edgerec.feeds.connection import FeedError
from edgerec.health.status import to_json
from edgerec.session.events import (
    AudioLate,
    AudioRefused,
    FilePublished,
    GapFound,
    RecordingStarted,
    RecordingStopped,
    StateChanged,
)
from edgerec.wire.blocks import MAX_RATE_HZ, MIN_RATE_HZ
from edgerec.wire.messages import RefusedError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

log = logging.getLogger(__name__)

HANDLER_SECONDS: Final = 30.0
STOP_S: Final = 60.0  # for the last files; only a disk that fails needs longer

_Event = TypeVar("_Event")
_Answer = TypeVar("_Answer")
_Handler = Callable[["Recorder", _Event], object]
_Registration = Callable[[_Handler[_Event]], _Handler[_Event]]


_open: Final[set[Recorder]] = set()
"""The recorders of this process that have devices open."""


class RecorderError(Exception):
    """A recorder can't do what was requested; the message says what to do about it."""


class Recorder:
    """Records what a configuration says, in this process.

    As a context manager it holds the devices open inside the `with` block, where recordings can be
    started and stopped; otherwise `start_recording` opens them and `stop_recording` releases them.
    All methods are for any thread. Nothing that a program or its handlers do delays the recording.

    Parameters
    ----------
    config
        See `load_config` and `make_config`.
    handler_seconds
        Time limit of a handler. One that takes longer is not called again until it has returned,
        and does not delay the others.
    control
        Whether to open the control socket, so that `edgerec status`, `tap` and the other commands
        reach this recorder; one that can't be made is a `ControlSocketError` when devices open.
    """

    def __init__(
        self,
        config: Config,
        *,
        handler_seconds: float = HANDLER_SECONDS,
        control: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        """The configuration it was made with."""
        self._handler_seconds = handler_seconds
        self._control = control
        self._clock = clock
        self._handlers = Handlers(config.recording)
        self._held = HeldFiles()
        self._opening = threading.RLock()  # held while the devices are opened or released
        self._running: Running | None = None
        self._stays_open = False
        self._counts = EventCounts(HandlerCounts(), 0)

    @overload
    def event_handler(
        self,
        name: Literal["on_audio_data", "on_user_turn_audio_data", "on_bot_turn_audio_data"],
    ) -> _Registration[AudioData]: ...
    @overload
    def event_handler(
        self, name: Literal["on_track_audio_data"]
    ) -> _Registration[TrackAudioData]: ...
    @overload
    def event_handler(
        self, name: Literal["on_recording_started"]
    ) -> _Registration[RecordingStarted]: ...
    @overload
    def event_handler(
        self, name: Literal["on_recording_stopped"]
    ) -> _Registration[RecordingStopped]: ...
    @overload
    def event_handler(self, name: Literal["on_gap"]) -> _Registration[GapFound]: ...
    @overload
    def event_handler(self, name: Literal["on_published"]) -> _Registration[FilePublished]: ...
    @overload
    def event_handler(self, name: Literal["on_late"]) -> _Registration[AudioLate]: ...
    @overload
    def event_handler(self, name: Literal["on_refused"]) -> _Registration[AudioRefused]: ...
    @overload
    def event_handler(self, name: Literal["on_played"]) -> _Registration[Played]: ...
    @overload
    def event_handler(self, name: Literal["on_state"]) -> _Registration[StateChanged]: ...
    def event_handler(self, name: str) -> Callable[[Callable[..., object]], object]:
        """Return a decorator that registers a handler, `def handler(recorder, event)`.

        Handlers may be `async`; they are awaited on a separate event loop, not on yours. They are
        called in order, one at a time, in a separate thread.

        Raises
        ------
        HandlerError
            There is no such event, or not with this configuration.
        """
        self.check_event(name)

        def register(function: Callable[..., object]) -> Callable[..., object]:
            self.add_handler(name, function)
            return function

        return register

    def add_handler(self, name: str, function: Callable[..., object]) -> None:
        """Register a handler by an event's name; as `event_handler`."""
        self.check_event(name)
        self._handlers.add(name, function)

    def check_event(self, name: str) -> None:
        """Make sure that there is such an event with this configuration.

        Raises
        ------
        HandlerError
            There is not.
        """
        self._handlers.check(name)

    @property
    def is_open(self) -> bool:
        """Whether the devices are open."""
        return self._running is not None

    def start_recording(self) -> bool:
        """Begin a session with what is sampled from now on.

        Returns
        -------
        Whether that changes anything: False while a session is in progress, which continues.

        Raises
        ------
        StoreError
            The storage root can't be used, or another process holds it.
        """
        with self._opening:
            if self._running is None:
                recording = replace(self.config.recording, auto_start=True)
                self._running = self._open(replace(self.config, recording=recording))
                return True
        return self._asked("start_recording", lambda recorder: recorder.start_recording())

    def stop_recording(self) -> None:
        """End the session; when this returns, all is published and every handler has been called.

        It waits for each handler at most `handler_seconds`; called from a handler, it does not
        wait. Does nothing while nothing is recorded.

        Raises
        ------
        RecorderError
            The disk does not take the last files; they are published when it does, or by the
            next recorder.
        Exception
            The failure that ended the recording earlier.
        """
        running = self._running
        if running is None:
            return
        if not self._stays_open:
            self.close()
            return
        running.engine.stop_recording()
        if not running.engine.wait_until_stopped(STOP_S):
            raise RecorderError(f"the last files are not published after {STOP_S:g} s: see the log")
        running.dispatcher.drain()

    def pause(self) -> bool:
        """Record silence instead of what is sampled from now on; a gap with reason `pause`.

        Returns
        -------
        Whether that changes anything.

        Raises
        ------
        RecorderError
            Nothing is recorded.
        """
        return self._asked("pause", lambda recorder: recorder.pause())

    def resume(self) -> bool:
        """Record again what is sampled from now on; as `pause`."""
        return self._asked("resume", lambda recorder: recorder.resume())

    def rotate(self) -> None:
        """End the chunk here; the next one begins on the next frame. As `pause`."""
        self._asked("rotate", lambda recorder: recorder.rotate())

    def feed(
        self,
        track: TrackName,
        pcm: Buffer,
        sample_rate: int,
        channels: int | None = None,
        at_ns: int | None = None,
        *,
        live: bool = False,
        lost: int = 0,
    ) -> Pushed:
        """Push audio into a track with `source: feed`.

        Without a time, and not `live`, it is queued, and recorded as a loudspeaker would play it:
        contiguous while the next comes no later than 200 ms after the last has played. While more
        than 30 s are queued, this waits; from asyncio call it by `asyncio.to_thread`. A stop of the
        session ends what is queued. Audio that comes while the devices are not open is ignored.

        After a stall of more than 200 ms such audio plays that much later until its next pause, as
        on a loudspeaker. What must not move is given `live` or with a time.

        Parameters
        ----------
        pcm
            int16 little-endian, interleaved: bytes, cut anywhere; or an array of int16 or float32
            (-1 to 1), shape (frames,) or (frames, channels). An empty one is nothing.
        sample_rate
            Sampling rate in Hz; may change from call to call.
        channels
            Number of channels; None: those of the array, 1 for bytes.
        at_ns
            Instant of the first frame on CLOCK_MONOTONIC (`time.monotonic_ns`), for audio that was
            sampled a moment ago, or that plays from then on. Give it with every call, or with none.
        live
            Whether this is what a microphone or a call delivers, pushed as it comes: frames are
            counted, and when calls are made only shows how fast the device runs. A call that is
            late by less than `recording.late_seconds` costs nothing.
        lost
            Number of frames that live audio has lost before this; they become a gap.

        Returns
        -------
        What was pushed, to ask `played` about; no frames for empty audio, or while not open.

        Raises
        ------
        FeedError
            It can't be recorded, or the session was stopped while this waited. The track can be fed
            again.
        """
        feeding = self._feeding(track)
        if feeding is None:
            return Pushed(track, 0, 0)
        return feeding.push(pcm, sample_rate, channels, at_ns, live=live, lost=lost)

    def clear(self, track: TrackName, at_ns: int | None = None) -> Played:
        """Drop what was pushed into a track and is not played: the speaker is interrupted.

        A call of `feed` that waits for room ends. The turn that is recorded ends here too, and
        says `interrupted`.

        Parameters
        ----------
        at_ns
            Instant from which on it is dropped, on CLOCK_MONOTONIC; None: now. What is recorded
            already, all but the last tenth of a second, counts as heard.

        Returns
        -------
        What was heard of the utterance in progress, and when its last frame ended.

        Raises
        ------
        RecorderError
            Nothing is open, or applications do not feed the track.
        """
        return self._asked("clear", lambda recorder: recorder.clear(track, at_ns))

    def played(self, of: Pushed | TrackName) -> Played:
        """Return what was heard by now of what a call of `feed` has pushed, or of all in a track.

        Raises
        ------
        RecorderError
            Nothing is open, applications do not feed the track, or that was too long ago.
        """
        if isinstance(of, str):
            return self._asked("played", lambda recorder: recorder.played(of))
        return self._asked("played", lambda recorder: recorder.played(of.track, of.start, of.stop))

    def tap(self, what: StreamName, sample_rate: int | None = None) -> Tap:
        """Return live audio from now on, as the devices deliver it, for `for` or `async for`.

        Whether a session is recorded makes no difference, except for the mix. Up to 5 s wait for a
        program that does not take them; what it loses, the next block says.

        Parameters
        ----------
        what
            `user`, `bot`, or `mix`, which is both tracks in one, in step, and comes later.
        sample_rate
            Rate to resample to, mono, such as 16000 for speech recognition; None: as it comes.

        Raises
        ------
        RecorderError
            The devices are not open, or there is no such stream or rate.
        """
        running = self._running
        if running is None:
            raise RecorderError("tap: the devices are not open; use `with`, or start_recording")
        if what not in STREAMS:
            raise RecorderError(f"tap: there is no {what!r}; use user, bot or mix")
        if sample_rate is not None and not MIN_RATE_HZ <= sample_rate <= MAX_RATE_HZ:
            told = f"sample_rate is {sample_rate}; give {MIN_RATE_HZ} to {MAX_RATE_HZ}, or None"
            raise RecorderError(f"tap: {told}")
        return Tap(running.taps, what, running.clock, sample_rate)

    def mark(
        self, track: TrackName, state: Literal["start", "stop"], at_ns: int | None = None
    ) -> int:
        """Mark that a speaker has the turn, or no longer has it, instead of having it detected.

        From the first mark of a session on, only marks make turns of that track.

        Parameters
        ----------
        at_ns
            Instant of the mark on CLOCK_MONOTONIC (`time.monotonic_ns`); None: now. At most as far
            back as the history reaches, half a minute.

        Returns
        -------
        The frame that is marked, on the session's timeline.

        Raises
        ------
        RecorderError
            Nothing is recorded, or turns are not (`recording.enable_turn_audio`).
        """
        if state not in ("start", "stop"):
            raise RecorderError(f"mark: state is {state!r}; use start or stop")
        speaking = state == "start"
        return self._asked(
            "mark", lambda recorder: recorder.mark(track, at_ns or 0, speaking=speaking)
        )

    def status(self) -> dict[str, object]:
        """Return the status, as `edgerec status --json` prints it; empty when closed."""
        running = self._running
        return {} if running is None else to_json(running.engine.status())

    @property
    def counts(self) -> EventCounts:
        """Counts of events by outcome, since the devices were last opened."""
        running = self._running
        return self._counts if running is None else running.dispatcher.counts

    def wait(self, timeout_s: float = threading.TIMEOUT_MAX) -> bool:
        """Wait until the recording was stopped, by a handler or another thread, or has failed.

        Returns
        -------
        Whether it was, within `timeout_s`.
        """
        running = self._running
        return running is None or running.engine.wait_until_stopped(timeout_s)

    def close(self) -> None:
        """End the session and release the devices; as `stop_recording`."""
        running = None
        try:
            with (
                self._opening
            ):  # who starts again meanwhile waits for the devices, not for handlers
                running, self._running = self._running, None
                _open.discard(self)
                if running is not None:
                    running.release()
        finally:
            if running is not None:
                running.finish()
                self._counts = running.dispatcher.counts

    def __enter__(self) -> Self:
        """Open the devices, and begin to record unless `recording.auto_start` is false."""
        with self._opening:
            self._stays_open = True
            if self._running is None:
                self._running = self._open(self.config)
        return self

    def __exit__(self, *_: object) -> None:
        """End the session and release the devices."""
        self._stays_open = False
        self.close()

    def _open(self, config: Config) -> Running:
        relay = Relay(self, self._handlers, self._held)
        running = open_devices(
            config, relay, self._handler_seconds, self._clock, control=self._control
        )
        _open.add(self)
        return running

    def _feeding(self, track: TrackName) -> Feeding | None:
        """Return what pushes into a track; None: the devices are not open."""
        running = self._running
        if running is None:
            return None
        if track not in running.feedings:
            told = f"the {track} track is not fed by applications"
            raise FeedError("no_feed", told, f"set tracks.{track}.source to feed")
        return running.feedings[track]

    def _asked(self, what: str, ask: Callable[[Engine], _Answer]) -> _Answer:
        running = self._running
        try:
            if running is not None:
                return ask(running.engine)
        except RefusedError as error:
            raise RecorderError(f"{what}: {error}; {error.hint}") from error
        raise RecorderError(f"{what}: nothing is recorded; call start_recording first")

    def _forget(self) -> None:
        """Be closed in a forked process, which has none of the threads."""
        self._opening = threading.RLock()  # a thread of the other process may hold it
        self._running = None


def _close_all() -> None:
    """End what a program leaves open that ends, in whatever way, with everything published."""
    for recorder in list(_open):
        try:
            recorder.close()
        except Exception:
            log.exception("the recording could not be ended with the program")


def _forget_all() -> None:
    """Leave what records to the process that this one was forked from."""
    for recorder in _open:
        recorder._forget()
    _open.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
