"""A program that records: virtual devices in simulated time, real threads and files."""

import numpy as np

from edgerec import Recorder
from edgerec.engine import sources
from tests.rigs.fakes import S, config, device, hum
from tests.rigs.recorder_rig import EagerSource, PacedClock

RATE = 16_000


class Program:
    """A program that records, and is told of everything in `told`."""

    def __init__(self, root, monkeypatch, *, bot="simulated", events=(), seconds=20.0, **recording):
        self.clock = PacedClock()
        self.config = config(root, bot=bot, **recording)
        self.recorder = Recorder(self.config, handler_seconds=seconds, clock=self.clock)
        self.told = []
        monkeypatch.setattr(sources, "open_child", self._device)
        self._events = events

    def _device(self, track, plan, now_ns):
        events = self._events if track == "bot" else ()
        return EagerSource(device(track, world=hum, start_ns=now_ns, events=events))

    def hear(self, *names):
        for name in names:

            def note(recorder, event, name=name):
                assert recorder is self.recorder
                self.told.append((name, event))

            self.recorder.event_handler(name)(note)

    def stop(self):
        """Stop recording; time goes on meanwhile."""
        self.clock.until_ns += 30 * S
        self.recorder.stop_recording()
        self.clock.until_ns = self.clock.raw_ns

    def events(self, name):
        return [event for told, event in self.told if told == name]


def samples(data):
    return np.frombuffer(data, "<i2")
