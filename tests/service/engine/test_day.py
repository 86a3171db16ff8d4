"""A day of the virtual kiosk through the replay path: memory stays, every frame is accounted for.

What is measured runs in a process of its own, of which this file is the program.
"""

import json
import os
import sys
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerec.audio import TRACKS, Block, StreamEnded
from edgerec.capture.faults import Absence, Faults, Loss, Stall
from edgerec.capture.simulate import VirtualKiosk
from edgerec.capture.virtual_device import DeviceModel
from edgerec.service import replay as replay_module
from tests.rigs.fakes import config, hum
from tests.rigs.long_runs import medians, resident_bytes, result_of
from tests.rigs.made_recordings import HEADER_BYTES

DAY_S = 86_400.0
RATE = 8_000  # of devices and timeline: what is counted doesn't depend on it, what it costs does
CHUNK_S = 30.0
WARM_UP_S = 180.0  # in which everything has happened once, and memory has met its peak
WARM_UP_EVENTS = (Loss(20.0, 300), Stall(40.0, 1.5), Absence(60.0, 60.0), Loss(125.0, 100))
MAX_GROWTH_BYTES = 1 << 20


def kiosk():
    faults = Faults(loss_per_hour=4, stall_per_hour=4, absence_per_hour=1, absence_s=60.0)
    model = DeviceModel(
        sample_rate=RATE,
        block_ms=500.0,
        wander_ppm=1.0,
        jitter_ms=0.5,
        faults=faults,
        events=WARM_UP_EVENTS,
    )
    user, bot = (replace(model, drift_ppm=ppm) for ppm in (31.0, -22.0))
    return VirtualKiosk(user, bot, seed=24, world=hum)


class Input:
    """One track of the kiosk as a trace would hold it, and what is true of it."""

    def __init__(self, track, seconds):
        self._handovers = kiosk().device(track).run(seconds)
        self.first_ns = self.last_ns = 0

    def __iter__(self):
        for handover in self._handovers:
            if isinstance(handover.delivery, StreamEnded):
                continue  # a trace has no word for it
            if isinstance(handover.delivery, Block):
                self.first_ns = self.first_ns or handover.sampled_ns
                self.last_ns = handover.sampled_ns + handover.delivery.frames * 10**9 // RATE
            yield handover.delivery


class Account:
    """Counts what is published, and deletes it: a day is 3 GB."""

    def __init__(self):
        self.frames = 0
        self.recorded = dict.fromkeys(TRACKS, 0)
        self.gaps = dict.fromkeys(TRACKS, 0)
        self.reasons = set()
        self._resident = array("q", bytes(8 * round(DAY_S / CHUNK_S + 1)))  # does not grow itself
        self._samples = 0

    @property
    def resident(self):
        """Resident memory in bytes at the end of each chunk, behind the warm-up."""
        return self._resident[: self._samples]

    def take(self, published):
        if published.kind == "chunk":
            self._count(published)
        published.sidecar.unlink()
        published.path.unlink(missing_ok=True)

    def _count(self, published):
        described = json.loads(published.sidecar.read_text())
        assert described["start_frame"] == self.frames
        self.frames += described["frames"]
        for samples in seconds_of(published.path):
            for index, track in enumerate(TRACKS):
                self.recorded[track] += int(np.count_nonzero(samples[:, index]))
        for track in TRACKS:
            gaps = described["tracks"][track]["gaps"]
            self.gaps[track] += sum(gap["frames"] for gap in gaps)
            self.reasons |= {gap["reason"] for gap in gaps}
        if self.frames >= WARM_UP_S * RATE:
            self._resident[self._samples] = resident_bytes()
            self._samples += 1


def seconds_of(path):
    """A chunk's samples, a second at a time: whole chunks would be the most that memory holds."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while data := file.read(RATE * 4):
            yield np.frombuffer(data, "<i2").reshape(-1, 2)


def without_interning():
    """Take CPython's table of interned strings out of the account: pathlib interns every name.

    Dead names leave it when it is full, after a day or so; until then, and for the moment of
    clearing, it takes up to 2 MB, and never more. In Python 3.12 alone they never leave it.
    """
    sys.intern = str


def replay_a_day(root, seconds):
    """Replay, and print the account as JSON."""
    without_interning()
    inputs = {track: Input(track, seconds) for track in TRACKS}
    replay_module.open_input = lambda path, track: iter(inputs[track])
    account = Account()
    replay_module.replay(
        config(root, sample_rate=RATE, chunk_seconds=CHUNK_S),
        {track: Path(track) for track in TRACKS},
        on_published=account.take,
    )
    began_ns = min(one.first_ns for one in inputs.values())
    ended_ns = max(one.last_ns for one in inputs.values())
    result = {
        "elapsed_s": (ended_ns - began_ns) / 1e9,
        "frames": account.frames,
        "recorded": account.recorded,
        "gaps": account.gaps,
        "reasons": sorted(account.reasons),
        "resident_bytes": medians(account.resident, CHUNK_S),
    }
    print(json.dumps(result))


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    # Or the allocator has another day each time.
    env = os.environ | {"PYTHONHASHSEED": "0"}
    module = "tests.service.engine.test_day"
    return result_of(module, tmp_path_factory.mktemp("day"), DAY_S, env=env)


@pytest.mark.long
def test_a_day_takes_no_more_memory_than_its_first_minutes(day):
    first, *hours = day["resident_bytes"]
    assert len(hours) == 24
    assert max(hours) - first < MAX_GROWTH_BYTES


@pytest.mark.long
def test_a_day_adds_up_to_the_frame(day):
    # The crystals are off by 31 ppm, which is 2.7 s a day; the timeline is not. Both its ends
    # are known as well as the devices' offset is: to 1.5 ms while they are new.
    assert day["frames"] == pytest.approx(day["elapsed_s"] * RATE, abs=2 * 0.0015 * RATE)
    for track in TRACKS:
        assert day["recorded"][track] + day["gaps"][track] == day["frames"]
        assert day["gaps"][track] > 0
    assert {"xrun", "stall", "absent"} <= set(day["reasons"])


if __name__ == "__main__":
    replay_a_day(Path(sys.argv[1]), float(sys.argv[2]))
