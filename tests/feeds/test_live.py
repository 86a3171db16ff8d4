"""Live devices that an application reads for us: their blocks are where their stamps say."""

import numpy as np
import pytest

from edgerec.audio import TRACKS, Block, DeviceFrame, GapReason, StreamHeader
from edgerec.feeds.connection import FeedError
from edgerec.feeds.live import (
    BLOCK_COST_NS,
    FASTEST,
    MAX_AGE_NS,
    MAX_FUTURE_NS,
    LiveAllowance,
)
from edgerec.feeds.playback import PAUSE, QUEUE_BYTES, QUEUE_NS
from edgerec.feeds.source import FeedSource
from edgerec.wire.blocks import encode_block
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.feed_rig import RATE, Application, Kiosk, feeding, holes, level, sounding

BLOCK_S = 0.02


@pytest.mark.parametrize(("clock", "offset_ns"), [("monotonic_raw", 0), ("monotonic", 7 * S)])
def test_stamped_blocks_are_where_their_stamps_say(clock, offset_ns):
    kiosk, capture = feeding()
    capture.open(clock=clock)
    for n in range(1, 31):
        kiosk.run_to(2.0 + n / 10 + 0.03)  # 30 ms on its way
        capture.push(level(0.1), START_NS + round((2.0 + n / 10) * S) + offset_ns, n * 1_600)
        kiosk.step()
    capture.finish()
    kiosk.run_to(8.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert abs(start - kiosk.frame(2.0)) <= 1
    assert stop - start == 3 * RATE
    assert holes(reasons) == []


def test_what_a_live_device_counts_as_lost_is_a_gap():
    kiosk, capture = feeding()
    capture.open()
    for n in range(20):
        kiosk.run_to(2.0 + n / 10)
        if n != 12:
            capture.push(level(0.1), kiosk.clock.raw_ns, n * 1_600)
    capture.finish()
    kiosk.run_to(6.0)
    ((_, frames, reason),) = holes(kiosk.stop()[1])
    assert (abs(frames - 1_600) <= 1, reason) == (True, GapReason.XRUN)


@pytest.mark.parametrize(
    ("age_ns", "refused"),
    [
        (-MAX_FUTURE_NS, False),
        (-MAX_FUTURE_NS - 1, True),
        (MAX_AGE_NS, False),
        (MAX_AGE_NS + 1, True),
    ],
)
def test_a_stamp_that_cannot_be_true_is_refused(age_ns, refused):
    kiosk, capture = feeding()
    capture.open()
    capture.push(level(0.1), kiosk.clock.raw_ns - age_ns)
    kiosk.step()
    answers, _ = capture.answers()
    assert (answers[-1].get("error", {}).get("code") == "bad_stamp") is refused


def test_a_live_device_may_catch_up_but_not_run_ahead_of_time():
    kiosk, capture = feeding()
    capture.open()
    kiosk.run_to(2.0)
    pushed = 0
    told = []
    while not told:
        capture.push(level(1.0), kiosk.clock.raw_ns)
        kiosk.step()
        pushed += 1
        told = [answer["error"] for answer in capture.answers()[0] if not answer["ok"]]
    assert told[0]["code"] == "too_fast"
    assert pushed == QUEUE_NS // S  # which count a little more than their audio
    assert capture.answers() == ([], True)
    assert kiosk.bot.state.name == "idle"


def test_a_crystal_that_is_fast_is_no_device_that_runs_ahead():
    kiosk, capture = feeding()
    capture.open()
    kiosk.run_to(2.0)
    rate = RATE * (FASTEST + 1) / 2
    for n in range(1, 300):
        # Ten minutes at a time: only the count matters here.
        kiosk.clock.raw_ns = START_NS + round(n * 600 * S)
        first = round(n * 600 * rate)
        capture.push(level(0.1), kiosk.clock.raw_ns, first_frame=first)
        kiosk.bot.deliver(kiosk.clock.raw_ns)
    assert not capture.answers()[1]


def test_live_blocks_come_on_our_clock_and_their_stream_ends_with_the_connection():
    source = FeedSource("bot", FakeClock())
    capture = Application(source, clock="monotonic")
    capture.open()
    at_ns = START_NS + 7 * S  # of the fake CLOCK_MONOTONIC
    capture.send_all(encode_block(Block(DeviceFrame(99), 1, at_ns, at_ns - 5, 1, bytes(2))))
    capture.send_all(encode_block(Block(DeviceFrame(100), 1, at_ns, 0, 2, bytes(2))))
    capture.finish()
    header, first, second, end = source.deliver(START_NS)
    assert (header.clock, header.device) == ("monotonic_raw", "feed:tts")
    assert first == Block(DeviceFrame(0), 1, START_NS, START_NS - 5, 1 | 2, bytes(2))
    assert second == Block(DeviceFrame(1), 1, START_NS, 0, 0, bytes(2))
    assert end == PAUSE
    source.close()


def test_queued_audio_behind_a_live_stream_ends_it():
    source = FeedSource("bot", FakeClock())
    application = Application(source)
    application.open()
    application.push(level(0.1), START_NS)
    application.open(sample_rate=24_000)
    application.push(level(0.1, 24_000))
    assert source.deliver(START_NS)[2:] == [PAUSE]
    header, *_ = source.deliver(START_NS + S)
    assert header.sample_rate == 24_000
    source.close()


def test_a_live_count_that_goes_back_is_refused():
    kiosk, capture = feeding()
    capture.open()
    capture.push(level(0.1), kiosk.clock.raw_ns, 1_600)
    capture.push(level(0.1), kiosk.clock.raw_ns, 1_600)
    kiosk.step()
    assert capture.answers()[0][-1]["error"]["code"] == "malformed"


@pytest.mark.parametrize("streams", ["a header line before each block", "a connection each"])
@pytest.mark.parametrize("block_s", [0.02, 0.5])
def test_no_more_audio_comes_than_time_passes_whatever_streams_it_comes_in(streams, block_s):
    kiosk, capture = feeding()
    capture.open()
    taken_s, told = 0.0, []
    while not told or "error" not in told[-1]:
        capture.push(level(block_s), kiosk.clock.raw_ns)
        kiosk.step()
        told += capture.answers()[0]
        taken_s += block_s
        if "error" not in told[-1] and streams == "a connection each":
            capture.finish()
            kiosk.step()
            capture = Application(kiosk.bot)
            capture.open()
        elif "error" not in told[-1]:
            capture.open()
        assert taken_s < 2 * QUEUE_NS / S
    assert told[-1]["error"]["code"] == "too_fast"
    assert taken_s > 0.25 * QUEUE_NS / S
    kiosk.run_to(kiosk.now_s + 2.0)  # as much as has passed may come
    capture = Application(kiosk.bot)
    capture.open()
    capture.push(level(1.0), kiosk.clock.raw_ns)
    kiosk.step()
    assert not any("error" in line for line in capture.answers()[0])


def test_a_flood_of_single_frames_is_counted_as_more_than_its_audio():
    header = StreamHeader(384_000, 64, "bot", "tts", "monotonic_raw")
    block = Block(DeviceFrame(0), 1, START_NS, 0, 0, bytes(128))
    allowance, blocks = LiveAllowance(), 0
    with pytest.raises(FeedError, match="more audio than time has passed"):
        while True:
            allowance.take(block, header, START_NS, opens=False)
            blocks += 1
    byte_rate = 384_000 * 64 * 2
    assert blocks == pytest.approx(QUEUE_BYTES / byte_rate * S / BLOCK_COST_NS, abs=1)
    allowance.take(block, header, START_NS + 10 * BLOCK_COST_NS, opens=False)


def jittered(seconds, *, seed):
    """When 20 ms blocks come: late by 15 ms (sd), at times by 400 ms, and then in a burst."""
    rng, last_s = np.random.default_rng(seed), 0.0
    for number in range(round(seconds / BLOCK_S)):
        late_s = abs(rng.normal(0, 0.015)) + (rng.random() < 0.004) * rng.uniform(0.1, 0.4)
        last_s = max(2.0 + (number + 1) * BLOCK_S + late_s, last_s)
        yield last_s, number


def feed_both_live(kiosk, seconds):
    """Both tracks are fed live, without stamps: clicks twice a second, at the same instants."""
    sides = {name: Application(kiosk.sources[name]) for name in TRACKS}
    for side in sides.values():
        side.open(live=True)
    block = round(BLOCK_S * RATE)
    due = sorted(
        (due_s, name, number)
        for seed, name in enumerate(sides)
        for due_s, number in jittered(seconds, seed=seed)
    )
    for due_s, name, number in due:
        kiosk.clock.raw_ns = max(kiosk.clock.raw_ns, START_NS + round(due_s * S))
        pcm = np.zeros(block, "<i2")
        if number % 25 == 0:
            pcm[:40] = 12_000
        sides[name].push(pcm.tobytes())
        kiosk.step()
    for side in sides.values():
        side.finish()
    kiosk.run_to(2.0 + seconds + 4)


def test_live_audio_that_comes_unevenly_loses_nothing_and_both_tracks_stand_together():
    kiosk = Kiosk(both=True, late_s=2.0, keep_s=60.0)
    feed_both_live(kiosk, 30.0)
    kiosk.stop()
    clicks = {}
    for name in ("user", "bot"):
        pcm, reasons = kiosk.recorded(name)
        assert holes(reasons) == []
        clicks[name] = np.array([start for start, _ in sounding(pcm)])
        assert len(clicks[name]) in (59, 60)  # the first one may lie before the session's frame 0
    apart = np.abs(clicks["user"][-40:] - clicks["bot"][-40:])  # from the tenth second on
    assert apart.max() <= 0.001 * RATE


def test_what_live_audio_declares_as_lost_is_a_gap_and_nothing_after_it_moves():
    kiosk, capture = feeding(late_s=2.0)
    capture.open(live=True)
    for number in range(200):
        kiosk.run_to(2.0 + (number + 1) * BLOCK_S, BLOCK_S)
        if number not in range(100, 110):
            capture.push(level(BLOCK_S), first_frame=number * round(BLOCK_S * RATE))
            kiosk.step()
    capture.finish()
    kiosk.run_to(9.0)
    pcm, reasons = kiosk.stop()
    ((_, frames, reason),) = holes(reasons)
    assert (abs(frames - 0.2 * RATE) <= 1, reason) == (True, GapReason.XRUN)
    assert sounding(pcm)[-1][1] == pytest.approx(kiosk.frame(6.0), abs=2)


def test_live_audio_that_stops_coming_is_a_stall():
    kiosk, capture = feeding(late_s=1.0)
    capture.open(live=True)
    for number in range(100):
        kiosk.run_to(2.0 + (number + 1) * BLOCK_S, BLOCK_S)
        capture.push(level(BLOCK_S))
    kiosk.run_to(8.0)
    _, reasons = kiosk.stop()
    assert [reason for _, _, reason in holes(reasons)] == [GapReason.STALL]


@pytest.mark.parametrize("live", [False, True])
def test_a_stop_does_not_wait_long_for_a_live_application_that_is_quiet(live):
    kiosk, capture = feeding(late_s=2.0)
    capture.open(live=live)
    for number in range(100):
        kiosk.run_to(2.0 + (number + 1) * BLOCK_S, BLOCK_S)
        capture.push(level(BLOCK_S), kiosk.clock.raw_ns)
        kiosk.step()
    kiosk.run_to(kiosk.now_s + 0.2)
    stopped_s = kiosk.now_s
    pcm, _ = kiosk.stop()
    assert kiosk.now_s - stopped_s <= 0.5
    assert sounding(pcm)[-1][1] == pytest.approx(kiosk.frame(4.0), abs=2)


def test_a_live_stream_that_is_open_at_the_end_of_the_recording_is_told_of():
    told = []
    source = FeedSource("bot", FakeClock(), told.append)
    capture = Application(source)
    capture.open()
    capture.push(level(0.1), START_NS)
    source.deliver(START_NS)
    source.close()
    assert [(one.frames, one.dropped) for one in told] == [(1_600, 0)]
