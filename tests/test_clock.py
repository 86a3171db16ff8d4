"""What the kernel says of its wall clock, and one instant read on every clock."""

import ctypes
import time

import pytest

from edgerec import clock
from edgerec.clock import SystemClock, kernel_clock_state

SYNCHRONISED = 0x0001  # linux/timex.h: STA_PLL
LOST = 0x0040  # STA_UNSYNC


class Kernel:
    """Answers adjtimex(2) as a test says."""

    def __init__(self, result, status, maxerror_us=2_500):
        self._result = result
        self._status = status
        self._maxerror_us = maxerror_us

    def adjtimex(self, timex):
        told = ctypes.cast(timex, ctypes.POINTER(clock._Timex)).contents
        told.status = self._status
        told.maxerror = self._maxerror_us
        return self._result


@pytest.mark.parametrize(
    ("kernel", "state"),
    [
        (Kernel(0, SYNCHRONISED), (True, 2.5)),
        (Kernel(0, SYNCHRONISED | LOST), (False, None)),
        (Kernel(-1, SYNCHRONISED), (False, None)),
        (object(), (False, None)),  # a C library that has no such call
    ],
    ids=["synchronised", "lost", "refused", "not there"],
)
def test_a_wall_clock_is_trusted_only_where_the_kernel_says_so(monkeypatch, kernel, state):
    monkeypatch.setattr(clock, "_LIBC", kernel)
    assert kernel_clock_state() == state


def test_the_error_of_a_reading_is_the_kernels_and_what_reading_took(monkeypatch):
    monkeypatch.setattr(clock, "_LIBC", Kernel(0, SYNCHRONISED))
    reading = SystemClock().read()
    assert reading.utc_trusted
    assert reading.utc_error_ms > 2.5


def test_a_reading_is_one_instant_on_every_clock():
    before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    reading = SystemClock().read()
    assert reading.raw_ns >= before_ns
    assert reading.monotonic_ns >= monotonic_ns
    assert SystemClock().now_ns() >= reading.raw_ns
