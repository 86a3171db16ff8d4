import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import Stamp
from edgerec.store.writing.rotation import Cutting, chunk_stop

RATE = 16000
SECOND_NS = 1_000_000_000


def clock(start_utc_ns, *, trusted=True):
    def stamp_of(frame):
        return Stamp(start_utc_ns + frame * SECOND_NS // RATE, trusted, 0.1, 0, "boot")

    return stamp_of


def never(frame):
    raise AssertionError(f"the clock was asked about frame {frame}")


def seconds(n):
    return round(n * RATE)


def test_a_chunk_ends_after_chunk_frames():
    assert chunk_stop(Cutting(300, 1000), RATE, 50, 60, never) == 350


def test_the_ceiling_ends_a_longer_chunk_and_one_without_a_length():
    assert chunk_stop(Cutting(3000, 1000), RATE, 50, 60, never) == 1050
    assert chunk_stop(Cutting(None, 1000), RATE, 50, 60, never) == 1050


@given(st.integers(0, 10**19), st.integers(2, 7200), st.integers(0, 10**9))
def test_an_aligned_chunk_ends_on_the_frame_nearest_to_a_multiple(utc_ns, period_s, start):
    cutting = Cutting(period_s * RATE, 10**12, align_to_clock=True)
    stop = chunk_stop(cutting, RATE, start, start, clock(utc_ns))
    off_ns = (utc_ns + stop * SECOND_NS // RATE) % (period_s * SECOND_NS)
    half_frame_ns = SECOND_NS / RATE / 2
    assert min(off_ns, period_s * SECOND_NS - off_ns) <= half_frame_ns + 2  # of whole numbers
    assert start < stop <= start + cutting.chunk_frames + RATE


def test_an_aligned_chunk_waits_for_a_clock_it_can_trust():
    cutting = Cutting(seconds(30), 10**9, align_to_clock=True)
    assert chunk_stop(cutting, RATE, 7, 7, clock(5 * SECOND_NS, trusted=False)) == 7 + seconds(30)


def test_a_clock_set_right_by_less_than_a_second_leaves_no_sliver_of_a_chunk():
    cutting = Cutting(seconds(30), seconds(3600), align_to_clock=True)
    before = clock(60 * SECOND_NS)
    assert chunk_stop(cutting, RATE, 0, 0, before) == seconds(30)
    set_back = clock(59 * SECOND_NS + SECOND_NS // 2)  # frame 0 is now 500 ms before a multiple
    assert chunk_stop(cutting, RATE, 0, 0, set_back) == seconds(30.5)


def test_a_boundary_the_clock_has_just_jumped_over_is_taken_at_once():
    cutting = Cutting(seconds(30), seconds(3600), align_to_clock=True)
    jumped = clock(60 * SECOND_NS + SECOND_NS // 2)
    position = seconds(29.6)  # 90.1 s by the clock
    assert chunk_stop(cutting, RATE, 0, position, jumped) == position


def test_a_boundary_long_gone_by_is_left_for_the_next():
    """The clock was set, and so could be trusted, long after it."""
    cutting = Cutting(seconds(30), seconds(3600), align_to_clock=True)
    late = clock(60 * SECOND_NS + 20 * SECOND_NS)  # the multiple 90 s was 10 s into the chunk
    assert chunk_stop(cutting, RATE, 0, seconds(20), late) == seconds(40)


def test_an_hour_aligned_under_a_ceiling_of_an_hour_stays_aligned_when_the_clock_is_set_back():
    cutting = Cutting(seconds(3600), seconds(3600), align_to_clock=True)
    set_back = clock(3600 * SECOND_NS - SECOND_NS // 1000)
    assert chunk_stop(cutting, RATE, 0, 0, set_back) == seconds(3600.001)


def test_the_ceiling_ends_an_aligned_chunk_whose_multiple_is_far():
    cutting = Cutting(seconds(7200), seconds(3600), align_to_clock=True)
    assert chunk_stop(cutting, RATE, 0, 0, clock(0)) == seconds(3600)


def test_a_chunk_of_untrusted_time_never_ends_before_what_is_written():
    cutting = Cutting(seconds(30), 10**9, align_to_clock=True)
    untrusted = clock(0, trusted=False)
    assert chunk_stop(cutting, RATE, 0, seconds(31), untrusted) == seconds(31)


@pytest.mark.parametrize(
    "wrong", [{"chunk_frames": 0}, {"max_file_frames": 0}, {"chunk_frames": None}]
)
def test_lengths_that_no_chunk_can_have_are_refused(wrong):
    right = Cutting(300, 1000, align_to_clock=True)
    with pytest.raises(ValueError, match=r"(chunk|max_file)_frames"):
        dataclasses.replace(right, **wrong)
