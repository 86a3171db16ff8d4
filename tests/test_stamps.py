"""Wall-clock stamps of timeline frames, live."""

import pytest

from edgerec.audio import TimelineFrame
from edgerec.clock import boot_id
from edgerec.stamps import RAW_ERROR_PPM, LiveStamps
from tests.rigs.fakes import START_NS, UTC_NS, FakeClock, S

RATE = 16_000
MINUTE = TimelineFrame(60 * RATE)


def test_a_live_stamp_is_the_frames_instant_on_every_clock_whenever_it_is_asked_for():
    clock = FakeClock()
    stamp_of = LiveStamps(clock, START_NS, RATE)
    clock.raw_ns += 63 * S
    stamp = stamp_of(MINUTE)
    assert stamp.utc_ns == UTC_NS + 60 * S
    assert stamp.monotonic_ns == START_NS + 7 * S + 60 * S
    counted_back_ms = 3_000 * RAW_ERROR_PPM * 1e-6
    assert (stamp.utc_trusted, stamp.boot_id) == (True, boot_id())
    assert stamp.utc_error_ms == pytest.approx(0.5 + counted_back_ms)
    clock.raw_ns += 3600 * S
    later = stamp_of(MINUTE)
    assert (later.utc_ns, later.monotonic_ns) == (stamp.utc_ns, stamp.monotonic_ns)
    assert later.utc_error_ms > 100 * stamp.utc_error_ms  # an hour by the machine's own crystal


def test_a_wall_clock_that_is_set_moves_the_wall_time_of_all_frames_and_nothing_else():
    clock = FakeClock()
    clock.trusted = False
    stamp_of = LiveStamps(clock, START_NS, RATE)
    before = stamp_of(MINUTE)
    clock.utc_offset_ns += 1_000_000 * S
    clock.trusted = True
    after = stamp_of(MINUTE)
    assert after.utc_ns == before.utc_ns + 1_000_000 * S
    assert (before.utc_trusted, after.utc_trusted) == (False, True)
    assert after.monotonic_ns == before.monotonic_ns


def test_a_frame_a_year_in_is_stamped_without_rounding():
    year = TimelineFrame(365 * 86_400 * RATE + 1)
    clock = FakeClock()
    stamp = LiveStamps(clock, START_NS, RATE)(year)
    assert stamp.utc_ns == UTC_NS + 365 * 86_400 * S + S // RATE
