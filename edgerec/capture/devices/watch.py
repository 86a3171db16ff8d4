"""Watches that each track records its own device, and notices when a missing one appears.

PulseAudio and PipeWire silently move a stream to another source when its own goes away. So the
server's events are followed (`pactl subscribe`, a process that sleeps), and when one concerns
recording, the server is asked which process records what. Cards that the kernel announces are
reported to the tracks whose device is missing.

All of it happens in one thread, which may wait for the server; nothing waits for it.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices.alsa_cards import ALSA_PREFIX
from edgerec.capture.devices.device_events import CardWatch, ServerEvents
from edgerec.capture.devices.device_verdict import (
    Findings,
    OpenDevice,
    RightSource,
    Unwatched,
    is_known,
)
from edgerec.capture.devices.server_answers import RecordingStream, ServerState
from edgerec.capture.devices.sound_server import (
    SoundServerError,
    pin_stream,
    read_state,
    why_no_answer,
)
from edgerec.clock import Clock
from edgerec.waker import Waker

log = logging.getLogger(__name__)

LEAST_PAUSE_S: Final = 0.25  # between two queries of 20 ms CPU each, however many events come

PIN_WITHIN_NS: Final = 3_000_000_000
"""Time since its child's start in which a stream may still be moved: later, half a second of the
recording would be missing."""
PIN_SETTLES_NS: Final = 300_000_000
"""Time after moving a stream by which nothing of the other source is on its way any more."""

_NO_STREAM: Final = "its stream is not among those of the server that the service knows of"

Watched = tuple[str | None, Findings]
"""A track's device as named in the configuration, and where to note what is found of it."""


class DeviceWatch:
    """Watches the devices of some tracks; between `start` and `close` in a thread of its own.

    Parameters
    ----------
    tracks
        The first to be watched; see `watch`.
    read_state
        Asks the server which process records what.
    pin_stream
        Makes the server leave a stream on its source.
    """

    def __init__(
        self,
        tracks: Mapping[TrackName, Watched],
        clock: Clock,
        *,
        read_state: Callable[[Collection[int]], ServerState | None] = read_state,
        pin_stream: Callable[[RecordingStream, Collection[str]], bool] = pin_stream,
        make_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._tracks = dict(tracks)
        self._clock = clock
        self._read_state = read_state
        self._pin_stream = pin_stream
        self._pinned: dict[TrackName, int] = {}
        self._sources = RightSource()
        self._unwatched = Unwatched(clock)
        self._seen: dict[TrackName, OpenDevice | None] = {}
        self._events = ServerEvents(clock)
        self._closing = threading.Event()
        self._waker = Waker()
        self._thread = make_thread(target=self._run, name="device watch")
        self._listen()

    def watch(self, tracks: Mapping[TrackName, Watched]) -> None:
        """Watch these tracks from now on, and no others; for any thread."""
        self._listen_no_more()
        self._tracks = dict(tracks)
        self._listen()
        self._note_followed()
        self._waker.set()

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        self._waker.set()
        self._thread.join()
        self._listen_no_more()
        self._waker.close()

    def suspect(self) -> None:
        """Have every track held back until `check` has been made."""
        for _, findings in self._tracks.values():
            findings.suspect(self._clock.now_ns())

    def check(self) -> None:
        """Ask the server which process records what, and note it for the tracks."""
        opened = {track: findings.opened for track, (_, findings) in self._tracks.items()}
        try:
            state = self._read_state([child.pid for child in opened.values() if child])
        except SoundServerError as error:
            log.warning("sources can't be distinguished why=%r", str(error))
            state = None
        for track, (wanted, findings) in self._tracks.items():
            child = opened.get(track)
            if child is None:
                findings.pass_over()
                self._unwatched.missing(track, None, "")
            elif state is None or child.pid not in state.streams:
                why = _NO_STREAM if state else f"who records what is unknown: {why_no_answer()}"
                self._note_missing(track, findings, child, why)
            else:
                self._judge(track, wanted, findings, child, state)

    def _note_missing(
        self, track: TrackName, findings: Findings, child: OpenDevice, why: str
    ) -> None:
        self._unwatched.missing(track, child, why)
        if child.device is None:
            findings.pass_over()  # it is asked again when the child delivers
        else:
            findings.unknown(child.pid)

    def _judge(
        self,
        track: TrackName,
        wanted: str | None,
        findings: Findings,
        child: OpenDevice,
        state: ServerState,
    ) -> None:
        stream = state.streams[child.pid]
        wrong = self._sources.wrong(track, wanted, child, stream)
        if wrong is not None:
            findings.accuse(child.pid, wrong)
        elif stream.source is None or not is_known(wanted, child):
            findings.pass_over()  # it is asked again when the header or the source has come
        else:
            self._pin(track, findings, child, stream, state)
            findings.vouch(child.pid)
            self._unwatched.found(track)

    def _pin(
        self,
        track: TrackName,
        findings: Findings,
        opened: OpenDevice,
        stream: RecordingStream,
        state: ServerState,
    ) -> None:
        """Have a stream that has just begun left where it is."""
        if self._pinned.get(track) == opened.pid:
            return
        young = self._clock.now_ns() - opened.started_ns <= PIN_WITHIN_NS
        if (opened.device is None or young) and self._pin_stream(stream, state.sources):
            self._pinned[track] = opened.pid
            findings.begins(opened.pid, self._clock.now_ns() + PIN_SETTLES_NS)

    def _needs_server(self) -> bool:
        """Whether any device may be one of a sound server's."""
        return any(w is None or not w.startswith(ALSA_PREFIX) for w, _ in self._tracks.values())

    def _listen(self) -> None:
        for _, findings in self._tracks.values():
            findings.be_told(self._waker.set)

    def _listen_no_more(self) -> None:
        for _, findings in self._tracks.values():
            findings.be_told(lambda: None)

    # The thread

    def _run(self) -> None:
        with CardWatch() as cards:
            while not self._closing.is_set():
                if self._needs_server() and self._events.follow():
                    self._note_followed()
                    self.check()  # what happened before is not reported
                ready = self._wait(cards)
                if cards.take():
                    self._publish()
                if self._events.fileno() in ready:
                    self._hear()
                if self._streams_changed() or self._unwatched.due_ms(self._tracks) == 0:
                    self._look_again()
        self._lose_server()

    def _wait(self, cards: CardWatch) -> set[int | None]:
        poll = select.poll()
        for fd in (self._waker.fileno(), cards.fileno(), self._events.fileno()):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        dues_ms = [self._events.due_ms(), self._unwatched.due_ms(self._tracks)]
        timeout_ms = min((due_ms for due_ms in dues_ms if due_ms is not None), default=None)
        if not self._needs_server():
            timeout_ms = None
        ready: set[int | None] = {fd for fd, _ in poll.poll(timeout_ms)}
        self._waker.clear()
        return ready

    def _hear(self) -> None:
        """Act on the events that have come."""
        told = self._events.take()
        if told is None:
            self._lose_server()
            return
        if told.changed:
            self.suspect()
            self.check()
            self._closing.wait(LEAST_PAUSE_S)
        if told.appeared:
            self._publish()

    def _lose_server(self) -> None:
        self._events.close()
        self._note_followed()

    def _note_followed(self) -> None:
        for _, findings in self._tracks.values():
            findings.followed = self._events.followed

    def _publish(self) -> None:
        for _, findings in self._tracks.values():
            findings.appeared()

    def _streams_changed(self) -> bool:
        """Whether a child has reported what it has opened since the last time."""
        seen = {track: findings.opened for track, (_, findings) in self._tracks.items()}
        changed = seen != self._seen
        self._seen = seen
        return changed and any(opened and opened.device for opened in seen.values())

    def _look_again(self) -> None:
        if not self._needs_server():
            return
        if not self._events.followed:
            self._events.hasten()
        self.check()
