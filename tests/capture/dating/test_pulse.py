"""Which readings of a sound server's latencies belong to one instant."""

import pytest

from edgerec.capture.dating.libpulse import Latencies
from edgerec.capture.dating.pulse import FRESH_US, MAX_FALL_OFF_US, SMALL_LUMP_US, is_coherent

LUMP_US = 250_000
APART_NS = 500_000


def latencies(first_us, last_us, *, lump_us=LUMP_US):
    return Latencies(7, 0, 0, (first_us, last_us), (10**9, 10**9 + APART_NS), lump_us)


@pytest.mark.parametrize(
    ("first_us", "last_us", "coherent"),
    [
        (100_000, 99_500, True),  # it fell by the half millisecond that passed
        (100_000, 99_500 - MAX_FALL_OFF_US - 1, False),
        (10_000, 250_000, False),  # it rendered meanwhile
        (LUMP_US - 1_000, LUMP_US - 1_500, False),  # it has just rendered
        (LUMP_US - FRESH_US - 1_000, LUMP_US - FRESH_US - 1_500, True),
        (700, 200, False),  # it may be late itself: its latency is cut off at 0
        (0, 0, False),
    ],
)
def test_a_sink_that_renders_or_is_late_gives_no_reading(first_us, last_us, coherent):
    assert is_coherent(latencies(first_us, last_us)) is coherent


def test_of_small_lumps_every_reading_is_taken():
    lump_us = SMALL_LUMP_US // 2
    assert is_coherent(latencies(lump_us - 100, lump_us - 600, lump_us=lump_us))
