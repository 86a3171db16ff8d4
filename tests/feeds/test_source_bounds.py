"""What a feed may send at most, by its header line, and the memory that the most takes."""

import contextlib
import tracemalloc

import pytest

from edgerec.api.feeding import Feeding
from edgerec.audio import GapReason
from edgerec.feeds.connection import MAX_BYTES_PER_S, FeedError
from edgerec.feeds.live import MAX_BLOCK_S
from edgerec.feeds.source import FeedSource
from edgerec.wire.blocks import MAX_CHANNELS, MAX_RATE_HZ
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.feed_rig import Application, feeding, holes, level, sounding

TOO_MUCH = [(MAX_RATE_HZ, MAX_CHANNELS), (384_000, 3), (192_000, 5), (48_000, 17), (96_000, 64)]
THE_MOST = [(384_000, 2), (192_000, 4), (96_000, 8), (48_000, 16), (12_000, 64)]
MOST_BYTES = 48 * 1024 * 1024
"""A queue of 8 MiB and its last block of 4, and 3 s in hand, twice as large as float32; the unit
has 128 MB and some 60 of it in use."""


@pytest.mark.parametrize(("rate", "channels"), TOO_MUCH)
def test_a_form_that_is_too_much_is_refused_by_its_header_line(rate, channels):
    kiosk, tts = feeding()
    tts.open(sample_rate=rate, channels=channels)
    kiosk.step()
    answers, closed = tts.answers()
    assert closed
    error = answers[-1]["error"]
    assert error["code"] == "malformed"
    assert f"{channels} channels at {rate} Hz are {2 * rate * channels} bytes" in error["message"]
    assert f"at most {MAX_BYTES_PER_S // (2 * rate)} channels" in error["hint"]
    another = Application(kiosk.bot)
    another.open()
    another.push(level(1.0))
    kiosk.run_to(4.0)
    pcm, reasons = kiosk.stop()
    assert len(sounding(pcm)) == 1
    assert {reason for _, _, reason in holes(reasons)} == {GapReason.SOURCE}


@pytest.mark.parametrize(("rate", "channels"), TOO_MUCH)
def test_a_program_is_told_before_it_has_sent_anything(rate, channels):
    source = FeedSource("bot", FakeClock())
    with pytest.raises(FeedError, match="bytes a second"):
        Feeding(source, "program").push(bytes(2 * channels), rate, channels, None)
    source.close()


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize(("rate", "channels"), THE_MOST)
def test_the_most_there_is_takes_bounded_memory_and_is_recorded(rate, channels, stamped):
    kiosk, app = feeding()
    app.open(sample_rate=rate, channels=channels)
    tracemalloc.start()
    data, sent, pushed_s = b"", 0, 0.0
    while kiosk.now_s < 7.0:
        while stamped and pushed_s + 1.0 + 0.1 <= kiosk.now_s:
            pushed_s += 0.1
            data += app.block(level(0.1, rate, channels), START_NS + round((1.0 + pushed_s) * S))
        if not stamped and not data[sent:] and pushed_s < 6.0:
            pushed_s += 0.5
            data, sent = app.block(level(0.5, rate, channels)), 0
        while data[sent:] and (more := app.send(data[sent : sent + 1_000_000])):
            sent += more
            kiosk.step()
        kiosk.run_to(kiosk.now_s + 0.05)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pcm, reasons = kiosk.stop()
    assert sum(stop - start for start, stop in sounding(pcm)) > 4 * 16_000
    assert {reason for _, _, reason in holes(reasons)} <= {GapReason.STALL}
    assert peak < MOST_BYTES


@pytest.mark.parametrize(
    ("block_s", "code"),
    [(MAX_BLOCK_S, None), (MAX_BLOCK_S + 0.1, "malformed"), (12.0, "malformed")],
)
def test_a_live_block_is_no_longer_than_history_can_wait_for(block_s, code):
    kiosk, app = feeding(keep_s=1.0)
    app.open(sample_rate=4_000)
    for _ in range(4):
        kiosk.run_to(kiosk.now_s + block_s)
        with contextlib.suppress(ConnectionError):  # it was cut off
            app.send(app.block(level(block_s, 4_000), kiosk.clock.raw_ns))
        kiosk.step()
    answers, closed = app.answers()
    assert (closed, answers[-1].get("error", {}).get("code")) == (code is not None, code)
    _, reasons = kiosk.stop()
    assert {reason for _, _, reason in holes(reasons)} == ({GapReason.SOURCE} if code else set())
