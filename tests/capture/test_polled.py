"""A stream that is polled: all frames once, each reading on a block of its own."""

import pytest

from edgerec.audio import StreamHeader
from edgerec.capture import polled
from edgerec.capture.dating.pulse import Reading
from edgerec.capture.polled import (
    BEGINNING,
    ENOUGH,
    READING_S,
    STEP_NS,
    TRIES,
    TRY_AGAIN_S,
    PolledCapture,
)

RATE = 48_000
BLOCK = RATE // 10
S = 1_000_000_000


class FakeStream:
    """Has the frames that a test puts into it."""

    def __init__(self):
        self.read_available = 0
        self.overflow = False
        self._read = 0

    def put(self, frames):
        self.read_available += frames

    def read(self, frames):
        self.read_available -= frames
        overflow, self.overflow = self.overflow, False
        return bytes(2 * frames), overflow


class FakeDating:
    """Says that frame n was captured at n / RATE, and what a test has it be off by."""

    def __init__(self):
        self.off_ns = 0
        self.silent = False
        self.asked = 0
        self.is_eager = False

    def read(self, count):
        self.asked += 1
        frames = count()
        if self.silent:
            return None
        return Reading(frames, frames * S // RATE + self.off_ns, 1000)


class FakeSender:
    """Keeps what it is to send."""

    def __init__(self):
        self.blocks = []

    def send(self, pcm, frames, arrived_ns, adc_ns, *, overflow, adc_error_us):
        assert len(pcm) == 2 * frames
        self.blocks.append((frames, adc_ns, adc_error_us, overflow))


@pytest.fixture
def clock(monkeypatch):
    now = [100 * S]
    monkeypatch.setattr(polled, "raw_now_ns", lambda: now[0])
    return now


class Rig:
    def __init__(self, clock, *, is_dated=True):
        self.stream, self.dating, self.sender = FakeStream(), FakeDating(), FakeSender()
        self._clock = clock
        dating = self.dating if is_dated else None
        self.capture = PolledCapture(self.stream, self.sender, dating, RATE, BLOCK)

    def poll(self, frames):
        self._clock[0] += round(self.capture.pause_s * S)
        self.stream.put(frames)
        self.capture.poll()


def dates_of(rig):
    """Return the first frame of each block that is dated, and by which date."""
    first, dates = 0, []
    for frames, adc_ns, adc_error_us, _ in rig.sender.blocks:
        if adc_error_us:
            dates.append((first, adc_ns))
        first += frames
    return dates


def test_the_header_says_whether_blocks_are_dated():
    assert StreamHeader(RATE, 1, "user", "d", "monotonic_raw").dated is False


def test_all_frames_are_sent_once_in_blocks_no_longer_than_asked(clock):
    rig = Rig(clock)
    for frames in (10, 0, BLOCK, 5 * BLOCK + 1, 3):
        rig.poll(frames)
    assert sum(block[0] for block in rig.sender.blocks) == 6 * BLOCK + 14
    assert max(block[0] for block in rig.sender.blocks) <= BLOCK
    assert rig.stream.read_available == 0


def test_each_block_is_dated_by_its_own_first_frame(clock):
    rig = Rig(clock)
    for _ in range(BEGINNING):
        rig.poll(BLOCK // 2)
    dates = dates_of(rig)
    assert len(dates) == BEGINNING
    assert all(abs(adc_ns - first * S // RATE) <= 1 for first, adc_ns in dates)


def test_readings_between_two_lumps_go_with_blocks_of_the_next_one(clock):
    rig = Rig(clock)
    rig.poll(BLOCK)
    for _ in range(3):
        rig.poll(0)
    rig.poll(BLOCK)
    assert len(dates_of(rig)) == ENOUGH


def test_once_there_are_enough_readings_one_is_taken_now_and_then(clock):
    rig = Rig(clock)
    for _ in range(100):
        rig.poll(BLOCK)
    asked = rig.dating.asked
    for _ in range(100):
        rig.poll(BLOCK)
    seconds = 100 * BLOCK / RATE
    assert rig.dating.asked - asked == pytest.approx(seconds / READING_S, abs=1)


def test_a_reading_that_is_off_and_an_overflow_have_the_next_ones_follow_at_once(clock):
    for disturb in ("step", "overflow"):
        rig = Rig(clock)
        for _ in range(100):
            rig.poll(BLOCK)
        asked = rig.dating.asked
        if disturb == "step":
            rig.dating.off_ns = 2 * STEP_NS
            for _ in range(round(READING_S * RATE / BLOCK) + 1):
                rig.poll(BLOCK)
        else:
            rig.stream.overflow = True
            rig.poll(BLOCK)
        for _ in range(ENOUGH):
            rig.poll(BLOCK)
        assert rig.dating.asked - asked >= ENOUGH


def test_what_is_refused_at_the_beginning_is_tried_again_soon_but_not_for_long(clock):
    rig = Rig(clock)
    rig.dating.silent = True
    began_ns = clock[0]
    for _ in range(TRIES):
        rig.poll(0)
    assert clock[0] - began_ns < 0.5 * TRIES * BLOCK / RATE * S
    assert rig.capture.pause_s == BLOCK / RATE


def test_without_dating_all_is_sent_and_nothing_is_asked(clock):
    rig = Rig(clock, is_dated=False)
    for _ in range(5):
        rig.poll(BLOCK)
    assert sum(block[0] for block in rig.sender.blocks) == 5 * BLOCK
    assert dates_of(rig) == []
    assert rig.capture.pause_s == BLOCK / RATE


def test_what_happens_at_the_beginning_does_not_cut_it_short(clock):
    rig = Rig(clock)
    rig.poll(BLOCK)
    rig.dating.off_ns = 2 * STEP_NS
    for _ in range(BEGINNING):
        rig.poll(BLOCK)
    assert len(dates_of(rig)) >= BEGINNING


def test_a_dating_that_has_to_find_its_way_is_asked_all_the_time(clock):
    rig = Rig(clock)
    for _ in range(2 * BEGINNING):
        rig.poll(BLOCK)
    asked = rig.dating.asked
    rig.dating.is_eager = True
    for _ in range(10):
        rig.poll(BLOCK)
        assert rig.capture.pause_s == TRY_AGAIN_S
    assert rig.dating.asked == asked + 10


def test_a_reading_from_before_a_loss_dates_nothing(clock):
    rig = Rig(clock)
    rig.poll(BLOCK)
    dated = len(dates_of(rig))
    rig.stream.overflow = True
    rig.poll(BLOCK)
    assert rig.sender.blocks[-1][3]
    assert len(dates_of(rig)) == dated
    rig.poll(BLOCK)
    assert len(dates_of(rig)) == dated + 1
