"""Hooks without their thread, in simulated time, and the real programs that they run."""

import sys
import time

from edgerec.audio import TimelineFrame
from edgerec.config import HooksConfig
from edgerec.service.hooks import Hooks
from edgerec.session.events import EventBus, FilePublished, StateChanged
from tests.rigs.fakes import FakeClock, S
from tests.rigs.waiting import PATIENCE_S

SLEEPY = "import time; time.sleep(3600)"


def python(code, *arguments):
    return (sys.executable, "-S", "-c", code, *arguments)


class Service:
    """Hooks without their thread, each step as a test wants it."""

    def __init__(self, limits=None, **commands):
        self.clock = FakeClock()
        self.events = EventBus()
        self.hooks = Hooks(HooksConfig(**commands), self.clock, self.events, limits)

    def publish(self, file):
        self.events.publish(file)

    def change_state(self, state):
        self.events.publish(StateChanged("recorder", state))

    def until(self, condition):
        """Let hooks be run until their counts are so."""
        patience_s = time.monotonic() + PATIENCE_S
        while not condition(self.hooks.counts):
            assert time.monotonic() < patience_s, self.hooks.counts
            self.hooks.step(0.05)

    def pass_time(self, seconds):
        self.clock.raw_ns += round(seconds * S)
        self.hooks.step(0.0)


def published(path, kind="chunk", what="chunk"):
    path.touch()
    return FilePublished(
        path=path,
        sidecar=path.with_suffix(".json"),
        session="9f3a01c2",
        kind=kind,
        what=what,
        sequence=0,
        start_frame=TimelineFrame(0),
        frames=16_000,
        end_reason="full",
    )
