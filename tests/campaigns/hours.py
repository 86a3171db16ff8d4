"""Hours with every consumer attached: each chunk is told once, and memory stays.

`scripts/campaign hours` is eight hours of them; a sample has fewer and shorter chunks. What is
measured runs in a process of its own, of which this file is the program.
"""

import contextlib
import hashlib
import json
import math
import sys
import threading
import time
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgerec import Recorder
from edgerec.api import running
from edgerec.config import HooksConfig
from edgerec.engine import sources, writer_loop
from edgerec.service.taps import Taps
from tests.rigs.fakes import START_NS, FakeClock, S, config, device, hum
from tests.rigs.long_runs import PAGE_BYTES, medians, resident_bytes, result_of
from tests.rigs.made_recordings import audio
from tests.rigs.recorder_rig import EagerSource
from tests.rigs.tap_rig import RECEIVED_BYTES, Listener, serving
from tests.rigs.waiting import wait_for

RATE = 8_000
STEP_S = 60.0  # of simulated time: so much of it passes while one waits in real time
LEAD_S = 50.0  # that the devices may be ahead of what is published; the ring holds 66 s
BEHIND_S = 5.0  # that a client who reads may be behind; the mix is, by late devices and a block
BLOCK_S = 0.5
STREAMS = ("user", "bot", "mix")
CLIENTS = 10  # of each stream, of whom every second one reads
BLOCK_BYTES = round(BLOCK_S * RATE) * 2
ON_THE_WAY_BYTES = round(len(STREAMS) * BEHIND_S / BLOCK_S) * BLOCK_BYTES
"""To those who read, once for all who read a stream."""
READ_BYTES = len(STREAMS) * CLIENTS // 2 * (RECEIVED_BYTES + 2 * BLOCK_BYTES)
"""By those who read: what has come, the block it is put together to, and that block's audio."""


@dataclass(frozen=True)
class Hours:
    """How long, in how many chunks."""

    seconds: float
    chunk_s: float

    @property
    def chunks(self):
        return round(self.seconds / self.chunk_s)

    @property
    def noise_bytes(self):
        """What fragments of memory may add up to after the first eighth.

        Less than a page for each chunk. Measured with the rest: 0.9 to 1.4 MB in eight hours, in
        six runs on a busy machine.
        """
        return PAGE_BYTES * self.chunks * 7 // 8


WHOLE = Hours(8 * 3_600.0, chunk_s=30.0)
SAMPLE = Hours(4_800.0, chunk_s=10.0)


class GatedClock(FakeClock):
    """Half a second passes at each look of the recorder thread, unless somebody is behind.

    The disk and who reads have real time to live in: how much is on its way to them must not be
    the machine's choice.
    """

    def __init__(self):
        super().__init__()
        self.published_s = 0.0
        self.readers = []
        self.until_ns = START_NS

    def __str__(self):
        heard = [one.frames / RATE for one in self.readers]
        return f"{(self.raw_ns - START_NS) / S} s, {self.published_s} s published, {heard} s heard"

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            heard_s = min((one.frames / RATE for one in self.readers), default=math.inf)
            open_s = min(self.published_s + LEAD_S, heard_s + BEHIND_S)
            if self.raw_ns < min(START_NS + open_s * S, self.until_ns):
                self.raw_ns += S // 2
            else:
                time.sleep(0.0005)
        return self.raw_ns

    def let_pass(self, seconds):
        """Let time pass; it fails where it stands still, not where the machine is slow."""
        end_ns = self.until_ns + round(seconds * S)
        while self.until_ns < end_ns:
            self.until_ns = min(self.until_ns + round(STEP_S * S), end_ns)
            wait_for(
                lambda: self.raw_ns >= self.until_ns,
                look_s=0.02,
                why=lambda: f"time stands at {self}",
            )


class Account:
    """What was told, and whether that is what there is."""

    def __init__(self, clock):
        self._clock = clock
        self.order = array("q")  # nothing that is kept here may count much
        self.different = 0
        self.resident = array("q")
        self.states = []

    def chunk(self, recorder, event):
        self.order.extend((event.sequence, event.start_frame, event.frames))
        digest = hashlib.sha256()
        for block in event.blocks(65_536):
            digest.update(block)
        self.different += digest.digest() != hashlib.sha256(audio(event.path)).digest()
        self.resident.append(resident_bytes())

    def fetch(self, recorder, event):
        """A sync job: takes every file away, and so lets time go on."""
        event.path.unlink()
        event.sidecar.unlink(missing_ok=True)
        if event.kind == "chunk":
            self._clock.published_s = (event.start_frame + event.frames) / RATE


def record(root, hours):
    """Record with every consumer attached, and print the account as JSON."""
    writer_loop.WRITE_S = 0.002
    sources.open_child = lambda track, plan, now_ns: EagerSource(
        device(
            track,
            world=hum,
            seconds=hours.seconds + 60,
            sample_rate=RATE,
            block_ms=1e3 * BLOCK_S,
        )
    )
    clock = GatedClock()
    account = Account(clock)
    settings = config(root, sample_rate=RATE, chunk_seconds=hours.chunk_s)
    settings = replace(
        settings,
        storage=replace(settings.storage, stall_seconds=60.0),
        hooks=HooksConfig(on_chunk=("/bin/true", "{path}"), on_state=("/bin/true", "{state}")),
    )
    taps = Taps(clock)
    path = root.with_suffix(".sock")
    stack = contextlib.ExitStack()
    stack.enter_context(serving(taps, path, clock))
    running.Taps = lambda clock: taps
    recorder = Recorder(settings, clock=clock)
    recorder.event_handler("on_audio_data")(account.chunk)
    recorder.event_handler("on_published")(account.fetch)
    recorder.event_handler("on_state")(lambda recorder, event: account.states.append(event.state))

    @recorder.event_handler("on_track_audio_data")
    async def broken(recorder, event):
        raise RuntimeError("a bug of the program's")

    recorder.start_recording()
    listeners = [Listener(path, what) for what in STREAMS for _ in range(CLIENTS)]
    clock.readers = listeners[::2]
    for one in clock.readers:
        threading.Thread(target=one.listen, daemon=True).start()
    wait_for(lambda: all(one.admitted for one in clock.readers))  # before anything is heard
    clock.let_pass(hours.seconds)
    clock.readers = []  # they hear of the end before the clock does
    clock.until_ns += 60 * S
    listening, hooks = taps.count, recorder._running.hooks
    recorder.stop_recording()
    stack.close()
    result = {
        "order": account.order.tolist(),
        "different": account.different,
        "resident_bytes": medians(
            account.resident, first=hours.chunks // 48, each=hours.chunks // 8
        ),
        "raised": recorder.counts.handlers.raised,
        "dropped": recorder.counts.dropped,
        "hooks": [hooks.counts.succeeded, hooks.counts.failed, hooks.counts.dropped],
        "states": account.states,
        "listening": listening,
    }
    print(json.dumps(result))


def recorded(hours, folder):
    """Return the account of so many hours."""
    return result_of(__name__, folder, hours.seconds, hours.chunk_s)


def check_chunks(account, hours):
    """Assert that every chunk was told once, in order, with the audio of its file."""
    sequences, starts, frames = (account["order"][field::3] for field in range(3))
    assert sequences == list(range(len(sequences)))
    assert len(sequences) >= hours.chunks - 1
    assert starts == np.cumsum([0, *frames[:-1]]).tolist()
    assert account["different"] == account["dropped"] == 0
    assert account["raised"] == len(sequences)
    assert sum(account["hooks"]) >= len(sequences)  # a busy machine starts fewer than wait
    assert account["listening"] == len(STREAMS) * CLIENTS / 2  # the others never read: cut off


def check_memory(account, hours):
    """Assert that no consumer makes memory grow; return by how much it did."""
    _, first, *later = account["resident_bytes"]  # all has happened by then
    assert len(later) == 7
    growth_bytes = max(later) - first
    limit_bytes = hours.noise_bytes + ON_THE_WAY_BYTES + READ_BYTES
    assert growth_bytes < limit_bytes, f"{growth_bytes} of {limit_bytes} bytes: {later}"
    return growth_bytes


def run(_args):
    """Record the whole eight hours, and print what was checked."""
    with TemporaryDirectory() as folder:
        account = recorded(WHOLE, folder)
    check_chunks(account, WHOLE)
    print(f"{len(account['order']) // 3} chunks told once, in order, with the audio of their files")
    print(f"{check_memory(account, WHOLE)} bytes more than in the first hour")


if __name__ == "__main__":
    record(Path(sys.argv[1]), Hours(float(sys.argv[2]), float(sys.argv[3])))
