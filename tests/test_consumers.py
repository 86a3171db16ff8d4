"""Programs that read nothing, never return, or send rubbish: none of them costs a frame.

What is measured over hours runs in a process of its own, of which this file is the program.
"""

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerec import FeedError, Recorder
from edgerec.audio import TRACKS
from edgerec.capture.wire import Decoder, WireError
from edgerec.config import HooksConfig
from edgerec.service import parts, writer_loop
from edgerec.service.tap_connection import MAX_WAITING_BYTES
from edgerec.store.verify import verify
from tests.feeding import level
from tests.kiosk import START_NS, FakeClock, S, config, device, hum
from tests.recordings import audio
from tests.test_day import medians, resident_bytes
from tests.test_recorder import EagerSource, PacedClock, wait_for

PATIENCE_S = 20.0
REPLY = b'{"id": 1, "ok": true, "result": {}}\n'


class EndingClock(PacedClock):
    """The hooks that hang at the end have their time run out at once."""

    ending = False

    def now_ns(self):
        if self.ending and threading.current_thread().name == "hooks":
            self.raw_ns += 10 * S
        return super().now_ns()


class Listener:
    """A client of a tap."""

    def __init__(self, recorder, what):
        self.socket, theirs = socket.socketpair()
        self.last = b""
        recorder._running.service.taps.offer(what, theirs, REPLY)

    def listen(self):
        """Read to the end; return how many frames came, and keep the last line."""
        decoder, frames = Decoder(), 0
        assert self.socket.recv(len(REPLY), socket.MSG_WAITALL) == REPLY
        while data := self.socket.recv(1 << 16):
            try:
                for message in decoder.feed(data):
                    frames += getattr(message, "frames", 0)
            except WireError:
                self.last = decoder.rest
        return frames


@pytest.fixture
def kiosk(tmp_path, monkeypatch):
    """A recorder whose user has a device, and whose bot is fed; time is the test's."""

    def devices(config, now_ns):
        return {"user": EagerSource(device("user", world=hum, start_ns=now_ns))}

    monkeypatch.setattr(parts, "build_children", devices)
    hang = (sys.executable, "-S", "-c", "import time; time.sleep(3600)")
    settings = replace(
        config(tmp_path / "root", bot="feed", chunk_seconds=1.0),
        hooks=HooksConfig(on_chunk=hang),
    )
    clock = EndingClock()
    recorder = Recorder(settings, handler_seconds=2.0, clock=clock)
    recorder.clock = clock
    yield recorder
    clock.ending = True
    clock.until_ns += 120 * S
    recorder.close()


def record(recorder, seconds):
    """Record on for so long; the disk keeps up, which has real time to live in."""
    ready = recorder.config.storage.root / "ready"

    def written():
        now_s = (recorder.clock.raw_ns - START_NS) / S
        return len(list(ready.rglob("*_chunk.wav"))) > now_s - 5

    for _ in range(seconds):
        recorder.clock.let_pass(1)
        wait_for(written)


def stop(recorder):
    """Stop; what keeps running of hooks has no time left then."""
    recorder.clock.ending = True
    recorder.clock.until_ns += 120 * S
    recorder.stop_recording()


def gaps_and_losses(root):
    """What is missing of the user, in chunks and between them."""
    found = []
    for path in root.rglob("*_chunk.json"):
        described = json.loads(path.read_text())
        found += described["tracks"]["user"]["gaps"]
        found += [described["missing_before"]] if described["missing_before"] else []
    return found


def test_no_handler_hook_or_tap_costs_a_frame_and_each_is_reported(kiosk, tmp_path, caplog):
    released = threading.Event()

    @kiosk.event_handler("on_audio_data")
    def sleep(recorder, event):
        time.sleep(0.01)

    @kiosk.event_handler("on_audio_data")
    def raises(recorder, event):
        raise RuntimeError("a bug of the program's")

    @kiosk.event_handler("on_audio_data")
    def prints(recorder, event):
        print("x" * 3_000_000)

    @kiosk.event_handler("on_audio_data")
    def never(recorder, event):
        released.wait(3_600)

    told = []
    kiosk.event_handler("on_audio_data")(lambda recorder, event: told.append(event.sequence))
    kiosk.start_recording()
    record(kiosk, 3)
    readers = [Listener(kiosk, what) for what in ("user", "mix") for _ in range(25)]
    heard = []
    listening = [
        threading.Thread(target=lambda one=one: heard.append(one.listen()), daemon=True)
        for one in readers[::2]
    ]
    for thread in listening:
        thread.start()
    taps = kiosk._running.service.taps
    for _ in range(60):  # a minute of a microphone at 48 kHz is 6 MB: 1 MiB of it may wait
        record(kiosk, 1)
        backlog = sum(one._waiting_bytes for all_ in taps._listening.values() for one in all_)
        assert backlog <= 50 * 2 * MAX_WAITING_BYTES
    wait_for(lambda: len(told) > 55)  # of 63: time goes on faster than handlers print
    stop(kiosk)
    released.set()
    for thread in listening:
        thread.join(PATIENCE_S)
    assert verify(tmp_path / "root").ok
    assert gaps_and_losses(tmp_path / "root") == []
    assert told == sorted(set(told)) and len(told) > 55
    counts = kiosk.counts.handlers
    assert counts.overdue >= 1 and counts.missed > 50 and counts.raised > 50
    assert "handler takes too long handler=on_audio_data:" in caplog.text
    assert "a bug of the program's" in caplog.text
    assert "tap cut off, it does not read of=user" in caplog.text
    assert "the service ends" in caplog.text  # of the hooks that hang
    assert len(heard) == len(listening) and min(heard) > 50 * 16_000


def rubbish(recorder, data):
    """Send something that is no feed; return what the recorder said to it."""
    ours, theirs = socket.socketpair()
    recorder._running.service.feeds["bot"].offer(theirs, b"", b"")
    with ours:
        ours.settimeout(PATIENCE_S)
        ours.sendall(data)
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)
        return json.loads(ours.makefile().readline())


def test_a_feed_that_sends_rubbish_or_far_too_much_costs_the_other_track_nothing(kiosk, tmp_path):
    kiosk.start_recording()
    record(kiosk, 3)
    for data in (b"\x00" * 5_000, b"GET / HTTP/1.1\r\n\r\n", b'{"edgerec_stream": 1}\n'):
        kiosk.clock.until_ns += 2 * S
        assert rubbish(kiosk, data)["error"]["code"] == "malformed"
    with pytest.raises(FeedError, match="no whole frames"):
        kiosk.feed("bot", b"abc", 16_000)
    for rate, channels in ((8_000, 1), (48_000, 2), (44_100, 1), (16_000, 6)):
        kiosk.feed("bot", level(0.2, rate, channels), rate, channels)
    record(kiosk, 5)
    hour = level(3600.0, 8_000)
    refused = []

    def push():
        try:
            kiosk.feed("bot", hour, 8_000)
        except FeedError as error:
            refused.append(error.code)

    pushing = threading.Thread(target=push, daemon=True)
    pushing.start()
    bot = kiosk._running.service.feeds["bot"]
    wait_for(lambda: bot._speaker._queued_bytes > 0)
    for _ in range(10):
        record(kiosk, 1)
        assert bot._speaker._queued_bytes < 31 * 8_000 * 2 + (1 << 18)
    stop(kiosk)
    pushing.join(PATIENCE_S)
    assert refused == ["stopped"]
    assert gaps_and_losses(tmp_path / "root") == []
    assert verify(tmp_path / "root").ok


# Eight hours of all of them

HOURS_S = 8 * 3_600.0
RATE = 8_000
CHUNK_S = 30.0
LEAD_S = 50.0  # that the devices may be ahead of what is published; the ring holds 66 s
MAX_GROWTH_BYTES = 16 << 20
"""Of seven hours: what taps may hold when the machine has no time for them, 1000 blocks of 8 KB and
1 MiB for each of three streams, and 5 MB of noise. Measured: 0.2 to 0.3 MB on a quiet machine, and
once over 4 MiB on a busy one. A chunk is 0.96 MB, and there are 840 of them."""


class GatedClock(FakeClock):
    """Half a second passes at each look of the recorder thread, unless the disk is behind."""

    def __init__(self):
        super().__init__()
        self.published_s = 0.0
        self.until_ns = START_NS

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            open_ns = START_NS + round((self.published_s + LEAD_S) * S)
            if self.raw_ns < min(open_ns, self.until_ns):
                self.raw_ns += S // 2
            else:
                time.sleep(0.0005)
        return self.raw_ns


class Account:
    """What was told, and whether that is what there is."""

    def __init__(self, clock):
        self._clock = clock
        self.digests = {}
        self.order = []
        self.different = 0
        self.resident = []
        self.states = []

    def chunk(self, recorder, event):
        self.order.append((event.sequence, event.start_frame, event.frames))
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
            device(track, world=hum, seconds=seconds + 60, sample_rate=RATE, block_ms=500.0)
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
    listeners = [Listener(recorder, what) for what in ("user", "bot", "mix") for _ in range(10)]
    for one in listeners[::2]:
        threading.Thread(target=one.listen, daemon=True).start()
    clock.until_ns = START_NS + round(seconds * S)
    while clock.raw_ns < clock.until_ns:
        time.sleep(0.05)
    clock.until_ns += 60 * S
    service = recorder._running.service
    listening = service.taps.count
    recorder.stop_recording()
    result = {
        "order": account.order,
        "different": account.different,
        "resident_bytes": medians(account.resident),
        "raised": recorder.counts.handlers.raised,
        "dropped": recorder.counts.dropped,
        "hooks": [service.hooks.counts.succeeded, service.hooks.counts.failed],
        "states": account.states,
        "listening": listening,
    }
    print(json.dumps(result))


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hours")
    command = [sys.executable, "-m", "tests.test_consumers", str(folder), str(HOURS_S)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.long
def test_in_eight_hours_every_chunk_is_told_once_in_order_with_the_audio_of_its_file(hours):
    sequences, starts, frames = zip(*hours["order"], strict=True)
    assert list(sequences) == list(range(len(sequences)))
    assert len(sequences) >= HOURS_S / CHUNK_S - 1
    assert list(starts) == np.cumsum([0, *frames[:-1]]).tolist()
    assert hours["different"] == hours["dropped"] == 0
    assert hours["raised"] == len(sequences)
    assert hours["hooks"][0] + hours["hooks"][1] >= len(sequences)
    assert hours["listening"] <= 15  # the others never read, and were cut off


@pytest.mark.long
def test_in_eight_hours_no_consumer_makes_memory_grow(hours):
    _, first, *later = hours["resident_bytes"]  # ten minutes, then hours; all has happened by then
    assert len(later) == 7
    assert max(later) - first < MAX_GROWTH_BYTES


if __name__ == "__main__":
    eight_hours(Path(sys.argv[1]), float(sys.argv[2]))
