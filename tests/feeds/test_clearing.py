"""An assistant that is interrupted: what was pushed and not played is dropped, no more."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, BlockFlags, DeviceFrame, StreamHeader
from edgerec.feeds.connection import FeedError
from edgerec.feeds.playlog import REMEMBERED
from edgerec.feeds.source import FeedSource
from edgerec.wire.blocks import encode_block
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.feed_rig import RATE, Kiosk, feeding, holes, level, sounding

TO_MONOTONIC_NS = 7 * S  # of the fake clocks


def test_what_is_recorded_ends_where_it_was_cut_and_the_answer_says_so():
    kiosk, tts = feeding()
    tts.open(sample_rate=24_000)
    tts.push(level(4.0, 24_000))
    began = kiosk.frame(kiosk.now_s)
    kiosk.step()
    kiosk.run_to(2.23)
    answer = kiosk.bot.clear()
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert abs(start - began) <= 1
    assert stop - start == pytest.approx(1.23 * RATE, abs=1)
    assert answer.frames == pytest.approx(1.23 * 24_000, abs=1)
    assert answer.frames + answer.dropped == answer.position == 4 * 24_000
    assert answer.seconds == pytest.approx(1.23, abs=1e-4)
    assert answer.last_ns == pytest.approx(START_NS + 2.23 * S + TO_MONOTONIC_NS, abs=S // 10_000)
    assert holes(reasons) == []


def test_twenty_interruptions_at_random_instants_leave_what_was_played_to_the_millisecond():
    rng, kiosk_tts = random.Random(1), feeding()
    kiosk, tts = kiosk_tts
    tts.open()
    expected = []
    for _ in range(20):
        tts.push(level(rng.uniform(0.5, 3.0)))
        began = kiosk.now_s
        kiosk.step()
        kiosk.run_to(began + rng.uniform(0.01, 0.4))
        answer = kiosk.bot.clear()
        expected.append((kiosk.frame(began), answer.frames))
        kiosk.run_to(kiosk.now_s + rng.uniform(0.05, 0.6))
    pcm, _ = kiosk.stop()
    heard = sounding(pcm)
    assert len(heard) == 20
    for (start, stop), (began, frames) in zip(heard, expected, strict=True):
        assert abs(start - began) <= 1
        assert abs(stop - start - frames) <= 1


def test_what_is_pushed_after_it_is_played_at_once():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(5.0))
    kiosk.step()
    kiosk.run_to(2.0)
    kiosk.bot.clear()
    kiosk.run_to(2.1)
    tts.push(level(1.0))
    kiosk.step()
    kiosk.run_to(5.0)
    heard = sounding(kiosk.stop()[0])
    assert [stop - start for start, stop in heard] == pytest.approx([RATE, RATE], abs=1)
    assert heard[1][0] == pytest.approx(kiosk.frame(2.1), abs=1)


def test_it_may_name_an_instant_that_is_still_to_come():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(5.0))
    kiosk.step()
    kiosk.run_to(2.0)
    at_ns = START_NS + round(2.5 * S) + TO_MONOTONIC_NS
    answer = kiosk.bot.clear(at_ns)
    assert (answer.frames, answer.last_ns) == (1.5 * RATE, at_ns)
    kiosk.run_to(6.0)
    ((start, stop),) = sounding(kiosk.stop()[0])
    assert stop - start == pytest.approx(1.5 * RATE, abs=1)


def test_it_can_not_take_back_what_is_recorded_and_says_what_was_heard():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(5.0))
    kiosk.step()
    kiosk.run_to(3.0)
    answer = kiosk.bot.clear(START_NS + TO_MONOTONIC_NS)
    kiosk.run_to(6.0)
    ((start, stop),) = sounding(kiosk.stop()[0])
    assert stop - start == pytest.approx(answer.frames, abs=1)


def test_what_still_waits_in_the_socket_is_dropped_and_what_comes_after_it_is_not():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(2.0))  # nobody has read it yet
    kiosk.bot.deliver(START_NS + S)
    tts.push(level(2.0))
    kiosk.bot.clear()
    tts.push(level(0.5))
    kiosk.run_to(6.0)
    told = kiosk.bot.played()
    assert (told.frames, told.dropped, told.waiting) == (0.5 * RATE, 4 * RATE, 0)
    ((start, stop),) = sounding(kiosk.stop()[0])
    assert stop - start == pytest.approx(0.5 * RATE, abs=1)


def test_a_connection_may_clear_what_it_has_sent_itself():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(5.0))
    kiosk.step()
    kiosk.run_to(2.0)
    tts.answers()
    tts.send_all(encode_block(Block(DeviceFrame(0), 0, 0, 0, BlockFlags.CLEAR, b"")))
    tts.push(level(1.0))
    kiosk.step()
    (answer,), closed = tts.answers()
    assert not closed
    assert answer["result"]["frames"] == RATE
    assert answer["result"]["dropped"] == 4 * RATE
    kiosk.run_to(5.0)
    assert sum(stop - start for start, stop in sounding(kiosk.stop()[0])) == 2 * RATE


def test_every_utterance_is_told_of_when_it_has_ended_or_was_cleared():
    told = []
    kiosk, tts = feeding()
    kiosk.bot.notify = told.append
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(4.0)
    tts.push(level(5.0))
    kiosk.step()
    kiosk.run_to(6.0)
    kiosk.bot.clear()
    kiosk.run_to(7.0)
    first, second = told
    assert (first.frames, first.dropped, first.position) == (RATE, 0, RATE)
    assert (second.frames, second.dropped, second.position) == (2 * RATE, 3 * RATE, 6 * RATE)


def test_an_application_that_vanishes_leaves_what_it_sent_and_that_can_be_cleared():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(3.0))
    tts.close()
    kiosk.run_to(2.0)
    kiosk.bot.clear()
    kiosk.run_to(5.0)
    assert sum(stop - start for start, stop in sounding(kiosk.stop()[0])) < 1.1 * RATE


def test_a_stamped_utterance_is_played_until_its_end_and_cut_like_any_other():
    kiosk, tts = feeding()
    tts.open()
    for n in range(1, 31):
        tts.push(level(0.1), START_NS + S + n * S // 10)
    kiosk.step()
    kiosk.run_to(2.5)
    answer = kiosk.bot.clear()
    assert (answer.frames, answer.dropped) == (1.5 * RATE, 1.5 * RATE)
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert abs(start - kiosk.frame(1.0)) <= 2
    assert stop - start == pytest.approx(1.5 * RATE, abs=4)
    assert holes(reasons) == []


def test_what_was_pushed_too_long_ago_or_not_yet_is_not_told_of():
    source = FeedSource("bot", FakeClock())
    source.attach()
    with pytest.raises(FeedError, match="known are 0 to 0"):
        source.played(0, 1)
    for _ in range(REMEMBERED + 10):
        source._intake.log.drop(1, RATE, 0)
    with pytest.raises(FeedError, match="known are 10 to"):
        source.played(9, 20)
    assert source.played().dropped == REMEMBERED + 10
    source.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "clear", "wait", "clear later"]), st.integers(1, 1500)),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_every_frame_pushed_is_heard_dropped_or_waits_and_the_record_agrees(steps):
    kiosk, tts = feeding()
    tts.open()
    pushed = 0
    for what, ms in steps:
        if what == "push":
            tts.push(level(ms / 1000))
            pushed += ms * RATE // 1000
            kiosk.step()
        elif what == "wait":
            kiosk.run_to(kiosk.now_s + ms / 1000)
        else:
            later_ns = ms * S // 10_000 if what == "clear later" else 0
            kiosk.bot.clear(kiosk.clock.raw_ns + TO_MONOTONIC_NS + later_ns)
        told = kiosk.bot.played()
        assert told.frames + told.dropped + told.waiting == told.position == pushed
    kiosk.run_to(kiosk.now_s + 1.0 + pushed / RATE)
    told = kiosk.bot.played()
    assert told.waiting == 0
    pcm, _ = kiosk.stop()
    heard = sum(stop - start for start, stop in sounding(pcm))
    assert abs(heard - told.frames) <= len(steps)


def inside(kiosk, seconds, rate=RATE, at_ns=None):
    """Push from inside the program, in tenths of a second, a stream of its own."""
    blocks = []
    for number in range(round(seconds * 10)):
        arrived_ns = 0 if at_ns is None else at_ns + (number + 1) * S // 10
        frame = DeviceFrame(number * rate // 10)
        blocks.append(Block(frame, rate // 10, arrived_ns, 0, 0, level(0.1, rate)))
    kiosk.bot.push([StreamHeader(rate, 1, "bot", "tts", "monotonic_raw"), *blocks])


def test_each_frame_is_told_of_once_where_a_stamped_stream_follows_what_was_cleared():
    kiosk, told = Kiosk(), []
    kiosk.bot.notify = told.append
    kiosk.bot.attach()
    kiosk.run_to(2.0)
    inside(kiosk, 3.6)
    kiosk.run_to(2.5)
    kiosk.clock.raw_ns += S // 100
    kiosk.bot.clear()  # what has played since the last step is not delivered yet
    inside(kiosk, 1.5, 48_000, at_ns=kiosk.clock.raw_ns + S // 2)
    kiosk.run_to(8.0)
    inside(kiosk, 0.6)
    kiosk.run_to(12.0)
    everything = kiosk.bot.played()
    kiosk.stop()
    assert sum(one.frames for one in told) == everything.frames
    assert sum(one.dropped for one in told) == everything.dropped
    assert {one.waiting for one in told} == {0}


def test_another_stream_may_begin_where_a_stamped_one_was_cleared():
    kiosk = Kiosk()
    kiosk.bot.attach()
    kiosk.run_to(2.0)
    inside(kiosk, 1.0, at_ns=kiosk.clock.raw_ns + 2 * S)
    assert kiosk.bot.clear().dropped == RATE
    inside(kiosk, 1.0, at_ns=kiosk.clock.raw_ns + S)
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    ((start, stop),) = sounding(pcm)
    assert start == pytest.approx(kiosk.frame(3.0), abs=2)
    assert stop - start == pytest.approx(RATE, abs=1)
    assert holes(reasons) == []


def test_the_status_agrees_with_the_answer_at_once():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(4.0))
    kiosk.step()
    kiosk.run_to(2.0)
    answer = kiosk.bot.clear()  # and no step of the recorder thread
    assert kiosk.bot.state.fed.dropped == answer.dropped > 0
