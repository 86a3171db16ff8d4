"""A recorder thread with feeds, in simulated time, and applications that push into them."""

import json
import socket
from itertools import pairwise

import numpy as np

from edgerec.audio import TRACKS, Block, DeviceFrame, GapReason, StreamHeader
from edgerec.feeds.source import FeedSource
from edgerec.sync.synchronizer import TrackPlan
from edgerec.wire.blocks import encode_block, encode_stream_header
from tests.rigs.capture_rig import RATE, Sessioned, recording_loop
from tests.rigs.fakes import START_NS, FakeClock, FakeSource, S


class Application:
    """One connection of an application that feeds a track."""

    def __init__(self, source, *, rate=RATE, channels=1, track=None, clock="monotonic_raw"):
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self.header = StreamHeader(rate, channels, track or source.track, "tts", clock)
        self._pushed = 0
        source.offer(theirs, b"", b'{"id": 1, "ok": true, "result": {}}\n')

    def send(self, data):
        """Send what the socket takes; return how many bytes that was."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def send_all(self, data):
        assert self.send(data) == len(data)

    def open(self, **changes):
        self.header = StreamHeader(**{**fields(self.header), **changes})
        self._pushed = 0
        self.send_all(encode_stream_header(self.header))

    def block(self, pcm, arrived_ns=0, first_frame=None):
        frames = len(pcm) // (2 * self.header.channels)
        first = DeviceFrame(self._pushed if first_frame is None else first_frame)
        self._pushed = first + frames
        return encode_block(Block(first, frames, arrived_ns, 0, 0, pcm))

    def push(self, pcm, arrived_ns=0, first_frame=None):
        self.send_all(self.block(pcm, arrived_ns, first_frame))

    def close(self):
        self._socket.close()

    def finish(self):
        self._socket.shutdown(socket.SHUT_WR)

    def answers(self):
        """Return what it was told so far, and whether the connection was closed behind that."""
        told = b""
        while True:
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                return [json.loads(line) for line in told.splitlines()], False
            if not data:
                return [json.loads(line) for line in told.splitlines()], True
            told += data


def fields(header):
    return {name: getattr(header, name) for name in StreamHeader.__slots__}


class Kiosk:
    """A capture loop whose bot track, or both, are feeds; what it records is kept."""

    def __init__(self, user=None, *, late_s=0.8, both=False, keep_s=30.0):
        self.clock = FakeClock()
        self.bot = FeedSource("bot", self.clock)
        self.user = FeedSource("user", self.clock) if both else FakeSource(user or ())
        self.sources = {"user": self.user, "bot": self.bot}
        if user is None and not both:
            del self.sources["user"]
        plans = {
            name: TrackPlan(continuous=isinstance(source, FakeSource))
            for name, source in self.sources.items()
        }
        self.sessions, self._spans = [], []
        self.loop = recording_loop(
            self.sources,
            plans,
            self.clock,
            (Sessioned(self.sessions),),
            late_s=late_s,
            keep_s=keep_s,
        )

    @property
    def now_s(self):
        return (self.clock.raw_ns - START_NS) / S

    def run_to(self, seconds, step_s=0.05):
        until_ns = START_NS + round(seconds * S)
        while self.clock.raw_ns < until_ns:
            self.clock.raw_ns = min(self.clock.raw_ns + round(step_s * S), until_ns)
            self.step()

    def step(self):
        self.loop.step(self.clock.raw_ns)
        self._keep()

    def stop(self):
        """End the session now; return it."""
        self.loop.stop()
        while self.timeline.stop is None:
            self.clock.raw_ns += S // 20
            self.step()
        for source in self.sources.values():
            source.close()
        return self.recorded()

    @property
    def timeline(self):
        (timeline,) = self.sessions
        return timeline

    @property
    def late_frames(self):
        return self.timeline.reports["bot"].late_frames

    def recorded(self, track="bot"):
        """Return (pcm, reasons) of a track from the session's epoch on."""
        index = TRACKS.index(track)
        pcm = np.concatenate([span.pcm[index] for span in self._spans])
        return pcm, np.concatenate([span.reasons[index] for span in self._spans])

    def frame(self, seconds):
        """The timeline frame of an instant."""
        epoch_ns = self.timeline.stamp_of(0).monotonic_ns - 7 * S
        return (START_NS + seconds * S - epoch_ns) * RATE / S

    def _keep(self):
        if self.sessions:
            history = self.timeline.history
            start = self._spans[-1].start + self._spans[-1].frames if self._spans else 0
            if history.committed > start:
                self._spans.append(history.read(start, history.committed - start))


def feeding(**kiosk):
    """A kiosk that records for a second already, and an application connected to its bot."""
    kiosk = Kiosk(**kiosk)
    kiosk.run_to(1.0)
    return kiosk, Application(kiosk.bot)


def noise(seconds, rate=RATE, channels=1, seed=1):
    """Loud all the time, and soft above 4 kHz, so that it passes a resampler whole."""
    frames = round(seconds * rate)
    white = np.random.default_rng(seed).standard_normal((frames, channels))
    level = 6_000 * np.clip(np.abs(white) + 0.2, 0, 3) * np.sign(white)
    return level.astype("<i2").tobytes()


def level(seconds, rate=RATE, channels=1, value=10_000):
    """Speech whose every frame is heard: a constant, so that a missing frame shows."""
    return np.full(round(seconds * rate) * channels, value, dtype="<i2").tobytes()


def sounding(pcm, threshold=3_000):
    """Return where a track sounds, as [(start, stop), ...]."""
    loud = np.concatenate(([False], np.abs(pcm.astype(int)) > threshold, [False]))
    edges = np.flatnonzero(np.diff(loud)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def holes(reasons):
    """Return the gaps as [(start, frames, reason), ...]."""
    edges = [0, *(np.flatnonzero(np.diff(reasons)) + 1).tolist(), len(reasons)]
    return [
        (start, stop - start, GapReason(reasons[start]))
        for start, stop in pairwise(edges)
        if stop > start and reasons[start]
    ]
