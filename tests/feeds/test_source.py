"""Pushed audio, from an application's socket onto the timeline, in simulated time."""

import json
import random
import resource
import select
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, DeviceFrame, GapReason, StreamHeader
from edgerec.engine.replay import replay
from edgerec.feeds.playback import CONTINUE_NS, QUEUE_NS
from edgerec.feeds.source import FeedSource
from edgerec.wire.trace import TraceWriter
from tests.rigs.fakes import START_NS, FakeClock, S, config, device
from tests.rigs.feed_rig import RATE, Application, Kiosk, feeding, holes, level, noise, sounding

STEP_S = 0.05


# Bursts


def test_tts_bursts_play_as_long_as_they_are_with_nothing_inserted_and_nothing_lost():
    """Five seconds of speech in a tenth of a second, every ten seconds: Pipecat adds 48 %."""
    kiosk, tts = feeding(user=device("user", seconds=60.0))
    tts.open(sample_rate=24_000)
    kiosk.run_to(2.0)
    began, pauses = [], 5
    for _ in range(pauses):
        began.append(kiosk.now_s + 0.02)  # when the first of them is read
        for _ in range(5):
            kiosk.run_to(kiosk.now_s + 0.02)
            tts.push(level(1.0, 24_000))
        kiosk.run_to(began[-1] + 9.98)
    pcm, reasons = kiosk.stop()
    heard = sounding(pcm)
    assert [stop - start for start, stop in heard] == [5 * RATE] * pauses
    for (start, _), began_s in zip(heard, began, strict=True):
        assert abs(start - kiosk.frame(began_s + 0.02)) <= 1
    assert holes(reasons) == []
    assert kiosk.late_frames == 0
    assert holes(kiosk.recorded("user")[1][2:]) == []


def test_a_jittery_sender_in_real_time_has_no_hole_in_its_speech():
    kiosk, sender = feeding()
    sender.open()
    jitter = random.Random(1)
    speech, sent_s = noise(20.0), 0
    due_ns = START_NS + 2 * S
    arrivals = [due_ns + n * S // 50 + jitter.randrange(150_000_000) for n in range(1_000)]
    for n, at_ns in enumerate(np.maximum.accumulate(arrivals).tolist()):
        kiosk.run_to((at_ns - START_NS) / S, step_s=0.25)
        sender.push(speech[n * 640 : (n + 1) * 640])
        kiosk.step()
        sent_s += 0.02
    kiosk.run_to(25.0)
    pcm, reasons = kiosk.stop()
    (start,) = np.flatnonzero(pcm)[:1]
    sent = np.frombuffer(speech, "<i2")
    assert np.abs(pcm[start : start + len(sent)].astype(int) - sent)[50:-50].max() <= 2
    assert not pcm[start + len(sent) + 50 :].any()
    assert holes(reasons) == []
    assert kiosk.late_frames == 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("late_s", [CONTINUE_NS / S, 0.8])
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.25])
def test_an_utterance_is_there_whole_with_its_tail_and_in_its_place(rate, late_s, seconds):
    kiosk, tts = feeding(late_s=late_s)
    tts.open(sample_rate=rate)
    tts.push(level(seconds, rate))
    began = kiosk.frame(kiosk.now_s)
    kiosk.step()
    kiosk.run_to(5.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert abs(start - began) <= 1
    assert abs(stop - start - seconds * RATE) <= 1
    assert holes(reasons) == []


@pytest.mark.parametrize("late_s", [CONTINUE_NS / S, 0.8])
def test_another_rate_and_number_of_channels_go_on_without_a_hole(late_s):
    kiosk, tts = feeding(late_s=late_s)
    kiosk.run_to(1.001)
    began = kiosk.frame(kiosk.now_s)
    formats = [(24_000, 1), (44_100, 2), (16_000, 1), (48_000, 2), (22_050, 1)]
    for rate, channels in formats:
        tts.open(sample_rate=rate, channels=channels)
        tts.push(level(0.501, rate, channels))
        kiosk.step()
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert abs(start - began) <= 1
    # Every joint lies between two timeline frames.
    assert abs(stop - start - len(formats) * 0.501 * RATE) <= len(formats)
    assert holes(reasons) == []
    assert kiosk.late_frames <= len(formats)


def test_a_pause_is_silence_and_no_gap_whichever_way_it_came():
    kiosk, tts = feeding(user=device("user", seconds=60.0))
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(5.0)
    tts.push(level(1.0))
    kiosk.run_to(10.0)
    tts.finish()
    kiosk.run_to(20.0)
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(25.0)
    pcm, reasons = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE] * 3
    assert holes(reasons) == []


def test_without_anybody_a_feed_is_silence_from_the_first_frame_on_and_delays_no_start():
    kiosk = Kiosk(user=device("user", seconds=60.0))
    kiosk.run_to(1.2)
    assert kiosk.sessions  # the user's device is settled: nothing else is waited for
    kiosk.run_to(5.0)
    pcm, reasons = kiosk.stop()
    assert not pcm.any()
    assert holes(reasons) == []


def test_two_feeds_begin_at_once():
    kiosk = Kiosk(both=True)
    kiosk.run_to(STEP_S)
    assert kiosk.sessions


def test_a_feed_does_not_wait_for_ever_for_a_missing_microphone():
    kiosk = Kiosk(user=())
    kiosk.run_to(4.0)
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(8.0)
    pcm, _ = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE]
    assert {reason for _, _, reason in holes(kiosk.recorded("user")[1])} == {GapReason.ABSENT}


def test_a_stop_before_a_missing_microphone_was_given_up_records_nothing():
    kiosk = Kiosk(user=())
    kiosk.run_to(1.0)
    kiosk.loop.stop()
    kiosk.step()
    assert kiosk.sessions == []


# Bounds


def test_an_hour_pushed_as_fast_as_it_goes_plays_in_real_time_and_waits_in_the_sender():
    kiosk, tts = feeding()
    tts.open()
    data = b"".join(tts.block(level(0.5)) for _ in range(7_200))
    header, peak_before = len(tts.block(b"")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = 0
    while kiosk.now_s < 120.0:
        sent += tts.send(data[sent : sent + 1_000_000])
        kiosk.run_to(kiosk.now_s + 0.1)
        taken_s = sent / (len(data) / 7_200) * 0.5
        # In the queue, its last block, and the two buffers of the socket.
        assert taken_s <= kiosk.now_s - 1.0 + QUEUE_NS / S + 0.5 + 1_000_000 / (2 * RATE)
    assert header == 40
    pcm, reasons = kiosk.recorded()
    ((start, stop),) = sounding(pcm)
    assert stop == len(pcm)
    assert abs(start - kiosk.frame(1.0 + STEP_S)) <= 1
    assert holes(reasons) == []
    queue_kb = 2 * RATE * QUEUE_NS / S / 1024
    recorded_kb = 119 * RATE * 3 / 1024  # what this test keeps of it
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak - peak_before < 4 * queue_kb + 2 * recorded_kb + 20_000


def test_a_full_queue_is_not_selected_on_until_there_is_room():
    kiosk, tts = feeding()
    tts.open(sample_rate=8_000)
    for _ in range(32):
        tts.push(level(1.0, 8_000))
        kiosk.step()
    assert not readable(kiosk.bot)
    kiosk.run_to(1.9)
    assert not readable(kiosk.bot)
    kiosk.run_to(3.5)
    tts.finish()
    assert readable(kiosk.bot)
    kiosk.run_to(40.0)
    pcm, _ = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [32 * RATE]
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["result"]["frames"] == 32 * 8_000


def readable(source):
    return bool(select.select([source.fileno()], [], [], 0)[0])


def test_an_application_that_sends_wakes_the_recorder():
    source = FeedSource("bot", FakeClock())
    assert not readable(source)
    tts = Application(source)
    assert readable(source)  # somebody is there
    source.deliver(START_NS)
    assert not readable(source)
    tts.open()
    assert readable(source)
    source.deliver(START_NS)
    assert not readable(source)
    source.close()


# Anything


PUSHES = st.lists(
    st.tuples(
        st.integers(0, 1_500_000),  # microseconds since the one before
        st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000]),
        st.sampled_from([1, 2]),
        st.integers(20, 800),  # milliseconds: what a socket takes at once
        st.booleans(),  # reconnect first
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(PUSHES, st.sampled_from([CONTINUE_NS / S, 0.8]), st.sampled_from([0.01, 0.1, 0.25]))
def test_whatever_is_pushed_is_recorded_whole(pushes, late_s, step_s):
    kiosk, tts = feeding(late_s=late_s)
    expected_s, opened = Fraction(), None
    for wait_us, rate, channels, length_ms, reconnect in pushes:
        kiosk.run_to(kiosk.now_s + wait_us / 1e6, step_s)
        if reconnect:
            tts.finish()
            kiosk.step()
            tts, opened = Application(kiosk.bot), None
        if opened != (rate, channels):
            opened = (rate, channels)
            tts.open(sample_rate=rate, channels=channels)
        frames = rate * length_ms // 1000
        tts.push(level(frames / rate, rate, channels))
        expected_s += Fraction(frames, rate)
        kiosk.step()
    kiosk.run_to(kiosk.now_s + float(expected_s) + 2.0, step_s)
    pcm, reasons = kiosk.stop()
    heard = sounding(pcm)
    # Each push may have been an utterance of its own, which is good to a frame.
    assert abs(sum(stop - start for start, stop in heard) - expected_s * RATE) <= len(pushes)
    # Where one utterance follows on another they overlap by part of a frame.
    assert kiosk.late_frames <= len(pushes)
    assert holes(reasons) == []


@pytest.mark.parametrize(("source", "pauses_are_gaps"), [("feed", False), ("portaudio", True)])
def test_what_was_fed_is_replayed_with_pauses_and_no_gaps(tmp_path, source, pauses_are_gaps):
    header = StreamHeader(RATE, 1, "bot", "x", "monotonic_raw")
    with TraceWriter(tmp_path / "bot.trace") as trace:
        trace.write(header)
        for n in range(60):
            late_ns = 3 * S if n >= 30 else 0
            at_ns = START_NS + (n + 1) * S // 10 + late_ns
            trace.write(Block(DeviceFrame(n * 1_600), 1_600, at_ns, 0, 0, level(0.1)))
    published = []
    replay(
        config(tmp_path / "root", bot=source),
        {"bot": tmp_path / "bot.trace"},
        on_published=published.append,
    )
    chunk, _ = published
    told = json.loads(chunk.sidecar.read_text())
    assert bool(told["tracks"]["bot"]["gaps"]) is pauses_are_gaps
    assert chunk.frames == pytest.approx(9 * RATE, abs=2)
