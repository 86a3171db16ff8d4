"""A day of the virtual kiosk through the replay path: memory stays, every frame is accounted for.

`scripts/campaign day` is the whole of it. A sample has the chunks and faults of a day in a tenth of
the time. What is measured runs in a process of its own, of which this file is the program.
"""

import json
import os
import sys
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgerec.audio import TRACKS, Block, StreamEnded
from edgerec.engine import replay as replay_module
from edgerec.simulation.device import Absence, DeviceModel, Faults, Loss, Stall
from edgerec.simulation.kiosk import VirtualKiosk
from tests.rigs.fakes import config, hum
from tests.rigs.long_runs import medians, resident_bytes, result_of
from tests.rigs.made_recordings import HEADER_BYTES

RATE = 8_000  # of devices and timeline: what is counted doesn't depend on it, what it costs does
WARM_UP_S = 600.0  # in which everything has happened once, and every window has filled
WARM_UP_EVENTS = (Loss(20.0, 300), Stall(40.0, 1.5), Absence(60.0, 60.0), Loss(125.0, 100))
MEASURED = 4  # every so many chunks; malloc_trim takes a millisecond
MAX_GROWTH_BYTES = 1 << 20
"""From the first ten minutes to any later 120 chunks: 400 bytes for each chunk of a day."""
PLACED_S = 0.0015
"""How well the beginning and the end are known: as well as the devices' offset while new."""


@dataclass(frozen=True)
class Day:
    """A day's chunks and faults, in how much time."""

    seconds: float
    chunks: int = 2_880

    @property
    def chunk_s(self):
        return self.seconds / self.chunks

    def kiosk(self):
        per_hour = 86_400 / self.seconds
        faults = Faults(
            loss_per_hour=4 * per_hour,
            stall_per_hour=4 * per_hour,
            absence_per_hour=per_hour,
            absence_s=60.0 / per_hour,
        )
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


WHOLE = Day(86_400.0)
SAMPLE = Day(8_640.0)


class Input:
    """One track of the kiosk as a trace would hold it, and what is true of it."""

    def __init__(self, day, track):
        self._handovers = day.kiosk().device(track).run(day.seconds)
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

    def __init__(self, chunks):
        self.frames = self._chunks = 0
        self.recorded = dict.fromkeys(TRACKS, 0)
        self.gaps = dict.fromkeys(TRACKS, 0)
        self.reasons = set()
        self._resident = array("q", bytes(8 * (chunks + 1)))  # does not grow itself
        self._samples = 0

    @property
    def resident(self):
        """Resident memory in bytes at the end of chunks, behind the warm-up."""
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
        self._chunks += 1
        if self.frames >= WARM_UP_S * RATE and self._chunks % MEASURED == 0:
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
    day = Day(seconds)
    inputs = {track: Input(day, track) for track in TRACKS}
    replay_module.open_input = lambda path, track: iter(inputs[track])
    account = Account(day.chunks)
    replay_module.replay(
        config(root, sample_rate=RATE, chunk_seconds=day.chunk_s),
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
        "resident_bytes": medians(
            account.resident,
            first=round(600.0 / day.chunk_s / MEASURED),
            each=120 // MEASURED,
        ),
    }
    print(json.dumps(result))


def recorded(day, folder):
    """Return the account of a day."""
    # Or the allocator has another day each time.
    env = os.environ | {"PYTHONHASHSEED": "0"}
    return result_of(__name__, folder, day.seconds, env=env)


def check_memory(account):
    """Assert that the day took no more memory than its first minutes; return by how much less."""
    first, *later = account["resident_bytes"]
    assert len(later) >= 20  # a day's chunks, less twice ten minutes
    growth_bytes = max(later) - first
    assert growth_bytes < MAX_GROWTH_BYTES, f"{growth_bytes} bytes more: {later}"
    return growth_bytes


def check_frames(account):
    """Assert that every frame is accounted for; return by how many seconds the length is off."""
    # The crystals are off by 31 ppm, which is 2.7 s a day; the timeline is not.
    off_s = account["frames"] / RATE - account["elapsed_s"]
    assert abs(off_s) <= 2 * PLACED_S, f"{off_s} s off"
    for track in TRACKS:
        assert account["recorded"][track] + account["gaps"][track] == account["frames"]
        assert account["gaps"][track] > 0
    assert {"xrun", "stall", "absent"} <= set(account["reasons"])
    return off_s


def run(_args):
    """Record the whole day, and print what was checked."""
    with TemporaryDirectory() as folder:
        account = recorded(WHOLE, folder)
    print(f"{check_memory(account)} bytes more than in its first minutes, 1 MiB may be")
    print(f"length off by {check_frames(account) * 1e3:.3f} ms, 3 ms may be; no frame unaccounted")


if __name__ == "__main__":
    replay_a_day(Path(sys.argv[1]), float(sys.argv[2]))
