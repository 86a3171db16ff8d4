"""A kiosk for tests of the service: devices, clock and configuration, all of it in numbers."""

import numpy as np

from edgerec.audio import SourceState
from edgerec.clock import ClockReading, boot_id
from edgerec.config import Config, RecordingConfig, StorageConfig, TrackConfig, TracksConfig
from edgerec.simulation.conversation import silence
from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.wire.trace import TraceWriter

S = 1_000_000_000
START_NS = 1_000 * S  # the machine runs for a while already
UTC_NS = 1_795_342_500 * S  # 2026-11-22T10:15:00Z, at START_NS
BOOT = boot_id()
LATENCY_NS = 5_000_000  # of `DeviceModel`: constant, and so seen as a later sampling


class FakeClock:
    """Clocks that stand still until they are set; `utc_ns` and `trusted` are the wall clock's."""

    def __init__(self, raw_ns=START_NS):
        self.raw_ns = raw_ns
        self.utc_offset_ns = UTC_NS - START_NS
        self.trusted = True
        self._slept_ns = 0
        self.slew_ppm = 0.0  # by which NTP makes the system's clocks faster than the raw one

    def now_ns(self):
        return self.raw_ns

    def suspend(self, seconds):
        """Sleep: the monotonic clocks stand still, the wall clock is right afterwards."""
        self._slept_ns += round(seconds * S)

    def read(self):
        slept_ns = self._slept_ns
        slewed_ns = round((self.raw_ns - START_NS) * self.slew_ppm * 1e-6)
        monotonic_ns = self.raw_ns + slewed_ns + 7 * S  # another clock, and another zero
        utc_ns = self.raw_ns + slewed_ns + self.utc_offset_ns + slept_ns
        return ClockReading(self.raw_ns, monotonic_ns, utc_ns, self.trusted, 0.5, slept_ns, BOOT)


class FakeSource:
    """Delivers a device's handovers when their time has come."""

    unhurried = False
    held_since_ns = None

    def __init__(self, handovers=()):
        self.state = SourceState("running", START_NS, "", 0)
        self._handovers = iter(handovers)
        self._next = next(self._handovers, None)
        self.closed = False
        self.state = SourceState("running", START_NS, "", 0)

    def fileno(self):
        return None

    def deliver(self, now_ns):
        deliveries = []
        while self._next is not None and self._next.at_ns <= now_ns:
            deliveries.append(self._next.delivery)
            self._next = next(self._handovers, None)
        return deliveries

    def close(self):
        self.closed = True


def hum(track):
    """A world in which no recorded sample is zero."""
    return lambda first_s, step_s, frames: np.full(frames, 0.25, np.float32)


def device(track, *, world=silence, seed=1, seconds=3_600.0, start_ns=START_NS, **model):
    """The handovers of one virtual device."""
    kiosk = VirtualKiosk(
        DeviceModel(**model), DeviceModel(**model), seed=seed, world=world, start_ns=start_ns
    )
    return kiosk.device(track).run(seconds)


def write_traces(folder, kiosk, seconds):
    """Store what both devices of a kiosk deliver; return the traces by track."""
    paths = {track: folder / f"{track}.trace" for track in ("user", "bot")}
    for track, path in paths.items():
        with TraceWriter(path) as trace:
            for handover in kiosk.device(track).run(seconds):
                trace.write(handover.delivery)
    return paths


def config(root, *, user="simulated", bot="simulated", **recording):
    """A configuration of two tracks; `recording` as in the file."""
    return Config(
        kiosk_id="k1",
        recording=RecordingConfig(**recording),
        tracks=TracksConfig(user=TrackConfig(source=user), bot=TrackConfig(source=bot)),
        storage=StorageConfig(root=root),
    )
