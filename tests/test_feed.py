"""Pushed audio, from an application's socket onto the timeline, in simulated time."""

import contextlib
import json
import random
import resource
import select
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, DeviceFrame, GapReason, StreamHeader
from edgerec.capture.feed import FeedSource
from edgerec.capture.feed_connection import FeedError
from edgerec.capture.live_feed import FASTEST, MAX_AGE_NS, MAX_FUTURE_NS
from edgerec.capture.loudspeaker import CONTINUE_NS, PAUSE, QUEUE_NS
from edgerec.capture.trace import TraceWriter
from edgerec.capture.wire import MAX_BLOCK_BYTES, encode_block
from edgerec.service.replay import replay
from tests.feeding import RATE, Application, Kiosk, holes, level, noise, sounding
from tests.kiosk import START_NS, FakeClock, S, config, device

STEP_S = 0.05


def feeding(**kiosk):
    """A kiosk that records for a second already, and an application connected to its bot."""
    kiosk = Kiosk(**kiosk)
    kiosk.run_to(1.0)
    return kiosk, Application(kiosk.bot)


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


# What an application is told, and what it can do wrong


def test_the_answer_comes_first_and_the_account_last():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(2.0))
    kiosk.step()
    assert tts.answers() == ([{"id": 1, "ok": True, "result": {}}], False)
    tts.finish()
    kiosk.step()
    (account,), closed = tts.answers()
    assert closed
    assert account == {
        "id": None,
        "ok": True,
        "result": {"frames": 2 * RATE, "plays_seconds": 2.0},
    }


GARBAGE = {
    "no magic": b"garbage, and much more of it than a block's header is long" * 10,
    "no JSON": b"{nonsense}\n",
    "odd length": b"\0",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_the_stream_with_a_clear_error_and_a_counted_gap(garbage, caplog):
    kiosk, tts = feeding(user=device("user", seconds=60.0))
    tts.open()
    tts.push(level(1.0))
    tts.send_all(garbage)
    kiosk.step()
    tts.finish()
    kiosk.run_to(5.0)
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["ok"] is False
    assert answers[-1]["error"]["code"] in ("malformed", "cut_off")
    assert "byte" in answers[-1]["error"]["message"]
    assert "feed refused track=bot" in caplog.text
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    again = kiosk.frame(kiosk.now_s)
    kiosk.step()
    kiosk.run_to(9.0)
    pcm, reasons = kiosk.stop()
    (_, first_stop), (second_start, _) = sounding(pcm)
    assert [stop - start for start, stop in sounding(pcm)] == [RATE] * 2
    ((start, frames, reason),) = holes(reasons)
    assert (start, reason) == (first_stop, GapReason.SOURCE)
    assert start + frames == second_start
    assert abs(second_start - again) <= 1
    assert holes(kiosk.recorded("user")[1][2:]) == []


def test_garbage_is_a_counted_gap_however_soon_good_audio_follows():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(1.0))
    tts.send_all(GARBAGE["no magic"])
    kiosk.step()
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE] * 2
    ((_, frames, reason),) = holes(reasons)
    assert (frames, reason) == (CONTINUE_NS * RATE // S, GapReason.SOURCE)


def test_garbage_at_the_very_end_of_a_session_is_a_gap_up_to_its_end():
    kiosk, tts = feeding()
    kiosk.run_to(3.0)
    tts.send_all(GARBAGE["no magic"])
    kiosk.run_to(3.2)
    pcm, reasons = kiosk.stop()
    ((start, frames, reason),) = holes(reasons)
    assert reason is GapReason.SOURCE
    assert start + frames == len(pcm)


@pytest.mark.parametrize("cut", [1, 41, 100])
def test_a_connection_that_ends_inside_a_block_is_told_so(cut):
    kiosk, tts = feeding()
    tts.open()
    tts.send_all(tts.block(level(0.1))[:-cut])
    tts.finish()
    kiosk.step()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == "cut_off"


def test_a_connection_that_sends_nothing_is_no_fault():
    kiosk, tts = feeding()
    tts.finish()
    kiosk.run_to(2.0)
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["result"]["frames"] == 0
    assert holes(kiosk.stop()[1]) == []


def test_an_application_that_vanishes_leaves_what_it_sent():
    kiosk, tts = feeding()
    kiosk.step()  # it is answered, and goes without having read that: a reset
    tts.open()
    tts.push(level(1.0))
    tts.close()
    kiosk.run_to(4.0)
    pcm, reasons = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE]
    assert holes(reasons) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda tts: tts.open(track="user"), "wrong_track"),
        (lambda tts: [tts.open(), tts.open()], "malformed"),
        (
            lambda tts: [tts.open(), tts.push(level(0.1)), tts.push(level(0.1), START_NS + S)],
            "malformed",
        ),
        (
            lambda tts: [
                tts.open(),
                tts.push(level(1.0)),
                tts.open(),
                tts.push(level(0.1), START_NS + S),
            ],
            "busy",
        ),
    ],
    ids=["wrong track", "header on header", "stamped and not", "live into a queue"],
)
def test_what_does_not_go_together_is_refused(wrong, code):
    kiosk, tts = feeding()
    wrong(tts)
    kiosk.step()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == code
    kiosk.run_to(3.0)
    assert {reason for _, _, reason in holes(kiosk.stop()[1])} == {GapReason.SOURCE}


def test_a_second_application_is_refused_by_name_until_the_first_has_ended():
    kiosk, first = feeding()
    with pytest.raises(FeedError, match="another application feeds the bot track") as refused:
        Application(kiosk.bot)
    assert refused.value.code == "busy"
    first.finish()
    kiosk.step()
    Application(kiosk.bot)


def test_an_application_is_told_when_the_recording_ends():
    kiosk, tts = feeding()
    tts.open()
    kiosk.stop()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == "stopped"
    with pytest.raises(FeedError, match="ended"):
        Application(kiosk.bot)


def test_an_application_that_was_just_seated_is_told_as_well():
    source = FeedSource("bot", FakeClock())
    tts = Application(source)
    source.close()
    answers, closed = tts.answers()
    assert closed
    assert [answer["ok"] for answer in answers] == [True, False]


def test_the_state_says_whether_somebody_is_connected_or_playing():
    kiosk = Kiosk()
    kiosk.run_to(1.0)
    assert kiosk.bot.state.name == "idle"
    tts = Application(kiosk.bot)
    kiosk.step()
    assert (kiosk.bot.state.name, kiosk.bot.state.since_ns) == ("running", START_NS + S)
    tts.open()
    tts.push(level(2.0))
    tts.finish()
    kiosk.run_to(2.5)
    assert (kiosk.bot.state.name, kiosk.bot.state.detail) == ("running", "nobody is connected")
    assert kiosk.bot.state.since_ns == START_NS + S
    kiosk.run_to(4.0)
    assert kiosk.bot.state.name == "idle"


def test_applications_that_come_all_at_once_get_one_seat():
    source = FeedSource("bot", FakeClock())
    seated, refused = [], []

    def come():
        try:
            seated.append(Application(source))
        except FeedError:
            refused.append(1)

    threads = [threading.Thread(target=come) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seated), len(refused)) == (1, 19)
    source.close()


# Live devices, read for us by an application


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
    assert pushed == 1 + QUEUE_NS // S + 1  # the first has no time to be compared with
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
    expected_s, opened = 0.0, None
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
        expected_s += frames / rate
        kiosk.step()
    kiosk.run_to(kiosk.now_s + expected_s + 2.0, step_s)
    pcm, reasons = kiosk.stop()
    heard = sounding(pcm)
    # Each push may have been an utterance of its own, which is good to a frame.
    assert abs(sum(stop - start for start, stop in heard) - expected_s * RATE) <= len(pushes)
    # Where one utterance follows on another they overlap by part of a frame.
    assert kiosk.late_frames <= len(pushes)
    assert holes(reasons) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5), st.booleans())
def test_no_bytes_can_raise_into_the_recorder(data, opened):
    kiosk, application = feeding()
    if opened:
        application.open()
        application.push(level(0.1))
    with contextlib.suppress(OSError):  # it was cut off
        for some in data:
            application.send(some)
            kiosk.step()
        application.finish()
    kiosk.run_to(2.0)
    assert application.answers()[1]
    kiosk.stop()


def test_the_largest_block_there_is_can_be_pushed():
    source = FeedSource("bot", FakeClock())
    tts = Application(source, rate=96_000, channels=2)
    tts.open()
    data, sent = tts.block(bytes(MAX_BLOCK_BYTES)), 0
    while sent < len(data):
        sent += tts.send(data[sent:])
        source.deliver(START_NS)
    tts.finish()
    source.deliver(START_NS)
    assert tts.answers()[0][-1]["result"]["frames"] == MAX_BLOCK_BYTES // 4
    source.close()


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
