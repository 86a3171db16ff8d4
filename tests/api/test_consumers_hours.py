"""Eight hours with every consumer attached: each chunk is told once, and memory stays.

What is measured runs in a process of its own, of which this file is the program.
"""

import hashlib
import json
import math
import sys
import threading
import time
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerec import Recorder
from edgerec.audio import TRACKS
from edgerec.config import HooksConfig
from edgerec.service import parts, writer_loop
from tests.rigs.fakes import START_NS, FakeClock, S, config, device, hum
from tests.rigs.long_runs import PAGE_BYTES, medians, resident_bytes, result_of
from tests.rigs.made_recordings import audio
from tests.rigs.recorder_rig import EagerSource
from tests.rigs.tap_rig import RECEIVED_BYTES, Listener
from tests.rigs.waiting import wait_for

HOURS_S = 8 * 3_600.0
PATIENCE_S = 600.0  # for hours that take 50 to 80 s
RATE = 8_000
CHUNK_S = 30.0
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
NOISE_BYTES = PAGE_BYTES * round((HOURS_S - 3_600) / CHUNK_S)
"""What fragments of memory may add up to in seven hours: less than a page for each chunk, which is
234 times that. Measured with the rest: 0.9 to 1.4 MB in six runs on a busy machine."""


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


def eight_hours(root, seconds):
    """Record with every consumer attached, and print the account as JSON."""
    writer_loop.WRITE_S = 0.002
    parts.build_children = lambda config, now_ns: {
        track: EagerSource(
            device(track, world=hum, seconds=seconds + 60, sample_rate=RATE, block_ms=1e3 * BLOCK_S)
        )
        for track in TRACKS
    }
    clock = GatedClock()
    account = Account(clock)
    settings = config(root, sample_rate=RATE, chunk_seconds=CHUNK_S)
    settings = replace(
        settings,
        storage=replace(settings.storage, stall_seconds=60.0),
        hooks=HooksConfig(on_chunk=("/bin/true", "{path}"), on_state=("/bin/true", "{state}")),
    )
    recorder = Recorder(settings, clock=clock)
    recorder.event_handler("on_audio_data")(account.chunk)
    recorder.event_handler("on_published")(account.fetch)
    recorder.event_handler("on_state")(lambda recorder, event: account.states.append(event.state))

    @recorder.event_handler("on_track_audio_data")
    async def broken(recorder, event):
        raise RuntimeError("a bug of the program's")

    recorder.start_recording()
    listeners = [Listener(recorder, what) for what in STREAMS for _ in range(CLIENTS)]
    clock.readers = listeners[::2]
    for one in clock.readers:
        threading.Thread(target=one.listen, daemon=True).start()
    wait_for(lambda: all(one.admitted for one in clock.readers))  # before anything is heard
    clock.until_ns = START_NS + round(seconds * S)
    wait_for(
        lambda: clock.raw_ns >= clock.until_ns,
        within_s=PATIENCE_S,
        look_s=0.05,
        why=lambda: f"time stands at {clock}",
    )
    clock.readers = []  # they hear of the end before the clock does
    clock.until_ns += 60 * S
    service = recorder._running.service
    listening = service.taps.count
    recorder.stop_recording()
    result = {
        "order": account.order.tolist(),
        "different": account.different,
        "resident_bytes": medians(account.resident, CHUNK_S),
        "raised": recorder.counts.handlers.raised,
        "dropped": recorder.counts.dropped,
        "hooks": [service.hooks.counts.succeeded, service.hooks.counts.failed],
        "states": account.states,
        "listening": listening,
    }
    print(json.dumps(result))


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    return result_of(
        "tests.api.test_consumers_hours",
        tmp_path_factory.mktemp("hours"),
        HOURS_S,
        timeout=2 * PATIENCE_S,  # in which it has said itself why it did not end
    )


@pytest.mark.long
def test_in_eight_hours_every_chunk_is_told_once_in_order_with_the_audio_of_its_file(hours):
    sequences, starts, frames = (hours["order"][field::3] for field in range(3))
    assert sequences == list(range(len(sequences)))
    assert len(sequences) >= HOURS_S / CHUNK_S - 1
    assert starts == np.cumsum([0, *frames[:-1]]).tolist()
    assert hours["different"] == hours["dropped"] == 0
    assert hours["raised"] == len(sequences)
    assert hours["hooks"][0] + hours["hooks"][1] >= len(sequences)
    assert hours["listening"] == len(STREAMS) * CLIENTS / 2  # the others never read: cut off


@pytest.mark.long
def test_in_eight_hours_no_consumer_makes_memory_grow(hours):
    _, first, *later = hours["resident_bytes"]  # ten minutes, then hours; all has happened by then
    assert len(later) == 7
    assert max(later) - first < NOISE_BYTES + ON_THE_WAY_BYTES + READ_BYTES


if __name__ == "__main__":
    eight_hours(Path(sys.argv[1]), float(sys.argv[2]))
