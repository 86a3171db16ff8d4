"""Is each device still the one that it should be, and has a missing one come?

A PulseAudio or PipeWire source that goes away is silently swapped for another one: the stream goes
on. So the server's own events are followed (`pactl subscribe`, a process that sleeps), and when one
concerns recording, the server is asked which process records what. Cards that the kernel announces
are announced to the tracks that miss one.

All of it happens in one thread, which may wait for the server; nobody waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.devices import PULSE_PREFIX
from edgerec.capture.findings import Findings, OpenDevice
from edgerec.capture.hotplug import CardWatch
from edgerec.capture.sound_server import (
    RecordingStream,
    ServerState,
    SoundServerError,
    pin_stream,
    read_state,
)
from edgerec.clock import Clock

log = logging.getLogger(__name__)

# setpriv: the kernel kills it with our thread, should that be killed itself.
SUBSCRIBE: Final = ("setpriv", "--pdeathsig", "KILL", "pactl", "subscribe")
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0  # where there is no server; a new stream has it tried at once
LEAST_PAUSE_S: Final = 0.25  # between two questions, 20 ms of CPU each, whatever the server tells
STREAM_TICK_S: Final = 1.0  # how late a child that has opened its device is noticed

PIN_WITHIN_NS: Final = 3_000_000_000
"""Of its child's start, a stream that delivers may still be moved: no later, for half a second of
the recording would be missing."""
PIN_SETTLES_NS: Final = 300_000_000
"""Behind the moving of a stream: by then nothing of the other source is on its way any more."""

_EVENT: Final = re.compile(rb"Event '(\w+)' on (source-output|source|server) ")
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Tidings:
    """What a few lines of `pactl subscribe` come to."""

    changed: bool = False
    """Somebody may record from another source now."""
    appeared: bool = False
    """There is a new source."""


def tidings(lines: bytes) -> Tidings:
    """Read what `pactl subscribe` printed.

    A source changes with every volume and whenever it goes to sleep; only that it comes or goes
    says anything. The server changes when its default does.
    """
    events = [(kind, what) for kind, what in _EVENT.findall(lines)]
    changed = any(what != b"source" or kind != b"change" for kind, what in events)
    return Tidings(changed, (b"new", b"source") in events)


Watched = tuple[str | None, Findings]
"""What the configuration calls a track's device, and whom to tell of it."""


class DeviceWatch:
    """Watches the devices of some tracks; between `start` and `close` in a thread of its own.

    Parameters
    ----------
    tracks
        The first to be watched; see `watch`.
    read_state
        Asks the server who records what.
    pin_stream
        Has the server leave a stream where it is.
    """

    def __init__(
        self,
        tracks: Mapping[TrackName, Watched],
        clock: Clock,
        *,
        read_state: Callable[[], ServerState | None] = read_state,
        pin_stream: Callable[[RecordingStream, Collection[str]], bool] = pin_stream,
        make_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        self._tracks = dict(tracks)
        self._clock = clock
        self._read_state = read_state
        self._pin_stream = pin_stream
        self._pinned: dict[TrackName, int] = {}
        self._first_seen: dict[TrackName, tuple[int, RecordingStream]] = {}
        self._seen: dict[TrackName, OpenDevice | None] = {}
        self._server: subprocess.Popen[bytes] | None = None
        self._connect_s: float | None = 0.0  # when to try; None: never again
        self._retry_s = FIRST_RETRY_S
        self._closing = threading.Event()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = make_thread(target=self._run, name="device watch")

    def watch(self, tracks: Mapping[TrackName, Watched]) -> None:
        """Watch these from now on, and no others; for any thread."""
        self._tracks = dict(tracks)
        self._note_followed()
        os.eventfd_write(self._woken, 1)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()
        os.eventfd_write(self._woken, 1)
        self._thread.join()
        os.close(self._woken)

    def suspect(self) -> None:
        """Have every track held back until `check` has been made."""
        for _, findings in self._tracks.values():
            findings.suspect(self._clock.now_ns())

    def check(self) -> None:
        """Ask the server who records what, and note it for the tracks."""
        try:
            state = self._read_state()
        except SoundServerError as error:
            log.warning("sources can't be told apart why=%r", str(error))
            state = None
        for track, (wanted, findings) in self._tracks.items():
            opened = findings.opened
            stream = state.streams.get(opened.pid) if state is not None and opened else None
            if opened is None or state is None or stream is None:
                findings.pass_over()
                continue
            wrong = self._wrong(track, wanted, opened, stream)
            if wrong is None:
                self._pin(track, findings, opened, stream, state)
                findings.vouch(opened.pid)
            else:
                findings.accuse(opened.pid, wrong)

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

    def _wrong(
        self, track: TrackName, wanted: str | None, opened: OpenDevice, stream: RecordingStream
    ) -> str | None:
        """Return why a child does not record what it should: the named source, else its first.

        One that is back under its name is another source too: PulseAudio has moved the stream to
        it and, in between, elsewhere.
        """
        for name in (opened.device, wanted):
            if name is not None and name.startswith(PULSE_PREFIX):
                expected = name.removeprefix(PULSE_PREFIX)
                if stream.source != expected:
                    return _swapped(stream, expected)
                break
        pid, first = self._first_seen.get(track, (opened.pid, stream))
        if pid != opened.pid:
            first = stream
        self._first_seen[track] = (opened.pid, first)
        if stream.source != first.source:
            return _swapped(stream, first.source)
        if stream.source_index != first.source_index:
            return f"the sound server took {stream.source} away and put it back"
        return None

    def _needs_server(self) -> bool:
        """Whether any device may be one of a sound server's."""
        return any(w is None or not w.startswith("alsa:") for w, _ in self._tracks.values())

    # The thread

    def _run(self) -> None:
        with CardWatch() as cards:
            while not self._closing.is_set():
                self._connect()
                ready = self._wait(cards)
                if cards.take():
                    self._announce()
                if self._events() in ready and not self._hear():
                    self._disconnect()
                if self._streams_changed():
                    self._look_again()
        self._disconnect()

    def _connect(self) -> None:
        """Start to follow the server's events, if it is time for that."""
        if self._server is not None or not self._needs_server():
            return
        if self._connect_s is None or self._now_s() < self._connect_s:
            return
        try:
            self._server = subprocess.Popen(
                SUBSCRIBE,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as error:
            log.info("no sound server is followed why=%r", str(error))
            self._connect_s = None
            return
        self._note_followed()
        self.check()  # what happened before is not told

    def _disconnect(self) -> None:
        if self._server is None:
            return
        self._server.kill()
        self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()
        self._server = None
        self._note_followed()
        self._connect_s = self._now_s() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)

    def _note_followed(self) -> None:
        for _, findings in self._tracks.values():
            findings.followed = self._server is not None

    def _events(self) -> int | None:
        """Return the descriptor of the server's events; None while it is not followed."""
        stdout = None if self._server is None else self._server.stdout
        return None if stdout is None else stdout.fileno()

    def _wait(self, cards: CardWatch) -> set[int | None]:
        poll = select.poll()
        for fd in (self._woken, cards.fileno(), self._events()):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        ready: set[int | None] = {
            fd for fd, _ in poll.poll(round(STREAM_TICK_S * 1000) if self._tracks else None)
        }
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        return ready

    def _hear(self) -> bool:
        """Act on the events that have come; return whether the server is still there."""
        fd = self._events()
        lines = b"" if fd is None else os.read(fd, _READ_BYTES)
        told = tidings(lines)
        if told.changed:
            self.suspect()
            self.check()
            self._retry_s = FIRST_RETRY_S
            self._closing.wait(LEAST_PAUSE_S)
        if told.appeared:
            self._announce()
        return bool(lines)

    def _announce(self) -> None:
        for _, findings in self._tracks.values():
            findings.appeared()

    def _streams_changed(self) -> bool:
        """Whether a child has told what it has opened since the last time."""
        seen = {track: findings.opened for track, (_, findings) in self._tracks.items()}
        changed = seen != self._seen
        self._seen = seen
        return changed and any(opened and opened.device for opened in seen.values())

    def _look_again(self) -> None:
        if self._server is not None:
            self.check()
        elif self._connect_s is not None:
            self._connect_s = 0.0

    def _now_s(self) -> float:
        return self._clock.now_ns() / 1e9


def _swapped(stream: RecordingStream, expected: str) -> str:
    return f"the sound server records {stream.source} in the place of {expected}"
