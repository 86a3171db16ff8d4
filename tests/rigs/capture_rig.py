"""A recorder thread's loop that a test steps through, in simulated time."""

import itertools
from dataclasses import replace

from edgerec.audio import TRACKS
from edgerec.config import Config, RecordingConfig
from edgerec.engine.capture_loop import CaptureLoop
from edgerec.engine.plan import Current, Plan
from edgerec.engine.sessions import Sessions
from edgerec.session.requests import SessionRequests
from edgerec.session.timeline import Listener
from edgerec.sync.synchronizer import Synchronizer, TrackPlan
from tests.rigs.fakes import START_NS, FakeClock, FakeSource, S

RATE = 16_000
STEP_NS = S // 10
NO_REASON = 0


def recording_loop(
    sources, plans, clock, listeners=(), *, late_s=0.8, length_s=None, keep_s=30.0, **told
):
    """A loop that records from the start on."""
    requests = SessionRequests(clock, started=True)
    synchronizer = Synchronizer(plans, late_s=late_s, drift_memory={})
    sessions = Sessions(
        synchronizer, requests, clock, listeners, keeping(keep_s), length_s=length_s
    )
    return CaptureLoop(sources, sessions, **told)


def keeping(keep_s):
    """What is recorded, at `RATE`, by a plan with a history of this length."""
    plan = Plan.of(Config(recording=RecordingConfig(sample_rate=RATE)))
    return Current(replace(plan, session=replace(plan.session, history_s=keep_s)))


class Sessioned(Listener):
    """Keeps every session's timeline in a list."""

    def __init__(self, sessions):
        self.begun = sessions.append


class Rig:
    """A capture loop on fake sources; time passes when the test says so."""

    def __init__(self, user=(), bot=(), *, bot_offset_ms=0.0, listeners=(), **options):
        self.clock = FakeClock()
        self.sources = {"user": FakeSource(user), "bot": FakeSource(bot)}
        self.sessions = []
        plans = {"user": TrackPlan(), "bot": TrackPlan(offset_ms=bot_offset_ms)}
        self.loop = recording_loop(
            self.sources, plans, self.clock, (Sessioned(self.sessions), *listeners), **options
        )

    @property
    def timeline(self):
        (timeline,) = self.sessions
        return timeline

    def at(self, seconds):
        """The instant so many seconds after the devices' world began."""
        return START_NS + round(seconds * S)

    def run_to(self, seconds):
        while self.clock.raw_ns < self.at(seconds):
            self.clock.raw_ns = min(self.clock.raw_ns + STEP_NS, self.at(seconds))
            self.loop.step(self.clock.raw_ns)

    def run_until(self, is_so, limit_s):
        """Run until something is so; return the seconds at which it became so."""
        while not is_so():
            assert self.clock.raw_ns < self.at(limit_s), f"not so within {limit_s} s"
            self.clock.raw_ns += STEP_NS
            self.loop.step(self.clock.raw_ns)
        return (self.clock.raw_ns - START_NS) / S

    def ended(self):
        return bool(self.sessions) and self.timeline.stop is not None

    def reasons(self, track):
        """The timeline of one track, from the first frame that the ring still holds."""
        history = self.timeline.history
        start = max(history.committed - 20 * RATE, 0)
        span = history.read(start, history.committed - start)
        return span.reasons[TRACKS.index(track)]


def epoch_s(timeline):
    """The session's epoch, in seconds since the devices' world began."""
    return (timeline.stamp_of(0).monotonic_ns - 7 * S - START_NS) / S


def runs(reasons):
    """Draw reason codes as [(reason, frames), ...]."""
    return [(int(key), len(list(group))) for key, group in itertools.groupby(reasons.tolist())]
