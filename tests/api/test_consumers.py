"""Programs that read nothing, never return, or send rubbish: none of them costs a frame."""

import contextlib
import json
import socket
import sys
import threading
import time
from dataclasses import replace

import pytest

from edgerec import FeedError, Recorder
from edgerec.api import running
from edgerec.config import HooksConfig
from edgerec.engine import sources
from edgerec.service.taps import MAX_WAITING_BYTES, Taps
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import START_NS, S, config, device, hum
from tests.rigs.feed_rig import level
from tests.rigs.recorder_rig import EagerSource, PacedClock
from tests.rigs.tap_rig import Listener, serving
from tests.rigs.waiting import PATIENCE_S, wait_for


class EndingClock(PacedClock):
    """The hooks that hang at the end have their time run out at once."""

    ending = False

    def now_ns(self):
        if self.ending and threading.current_thread().name == "hooks":
            self.raw_ns += 10 * S
        return super().now_ns()


@pytest.fixture
def kiosk(tmp_path, monkeypatch):
    """A recorder whose user has a device, and whose bot is fed; time is the test's."""

    def open_child(track, plan, now_ns):
        return EagerSource(device(track, world=hum, start_ns=now_ns))

    monkeypatch.setattr(sources, "open_child", open_child)
    hang = (sys.executable, "-S", "-c", "import time; time.sleep(3600)")
    settings = replace(
        config(tmp_path / "root", bot="feed", chunk_seconds=1.0),
        hooks=HooksConfig(on_chunk=hang),
    )
    clock = EndingClock()
    taps = Taps(clock)
    monkeypatch.setattr(running, "Taps", lambda clock: taps)
    recorder = Recorder(settings, handler_seconds=2.0, clock=clock)
    recorder.clock, recorder.taps = clock, taps
    recorder.tap_path = tmp_path / "taps.sock"
    with contextlib.ExitStack() as recorder.serving:
        recorder.serving.enter_context(serving(taps, recorder.tap_path, clock))
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
    recorder.serving.close()


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
    readers = [Listener(kiosk.tap_path, what) for what in ("user", "mix") for _ in range(25)]
    listening = [threading.Thread(target=one.listen, daemon=True) for one in readers[::2]]
    for thread in listening:
        thread.start()
    taps = kiosk.taps
    for _ in range(60):  # a minute of a microphone at 48 kHz is 6 MB: 1 MiB of it may wait
        record(kiosk, 1)
        backlog = sum(one._waiting_bytes for one in taps._readers)
        assert backlog <= 50 * 2 * MAX_WAITING_BYTES
    wait_for(lambda: len(told) > 55)  # of 63: time goes on faster than handlers print
    stop(kiosk)
    released.set()
    for thread in listening:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert verify(tmp_path / "root").ok
    assert gaps_and_losses(tmp_path / "root") == []
    assert told == sorted(set(told)) and len(told) > 55
    counts = kiosk.counts.handlers
    assert counts.overdue >= 1 and counts.missed > 50 and counts.raised > 50
    assert "handler takes too long handler=on_audio_data:" in caplog.text
    assert "a bug of the program's" in caplog.text
    assert "tap cut off, it does not read of=user" in caplog.text
    assert "the service ends" in caplog.text  # of the hooks that hang
    assert min(one.frames for one in readers[::2]) > 50 * 16_000


def rubbish(recorder, data):
    """Send something that is no feed; return what the recorder said to it."""
    ours, theirs = socket.socketpair()
    recorder._running.engine.feeds["bot"].offer(theirs, b"", b"")
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
    with pytest.raises(FeedError, match="sample_rate is 100"):
        kiosk.feed("bot", b"abcd", 100)
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
    bot = kiosk._running.engine.feeds["bot"]
    wait_for(lambda: bot._intake._speaker._queued_bytes > 0)
    for _ in range(10):
        record(kiosk, 1)
        assert bot._intake._speaker._queued_bytes < 31 * 8_000 * 2 + (1 << 18)
    stop(kiosk)
    pushing.join(PATIENCE_S)
    assert refused == ["stopped"]
    assert gaps_and_losses(tmp_path / "root") == []
    assert verify(tmp_path / "root").ok
