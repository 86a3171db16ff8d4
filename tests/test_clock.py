"""What the kernel says of its wall clock, and one instant read on every clock."""

import ctypes
import time
from pathlib import Path

import pytest

from edgerec import clock
from edgerec.clock import PLAUSIBLE_S, SystemClock, kernel_clock_state, rtc_trouble

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
    assert reading.boot_id == clock.BOOT_ID_FILE.read_text().strip()


NOW_S = round(Path(clock.__file__).stat().st_mtime) + 86_400


def rtcs(folder, *told):
    for number, text in enumerate(told):
        (folder / f"rtc{number}").mkdir()
        (folder / f"rtc{number}" / "since_epoch").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("told", "utc_s", "trouble"),
    [
        ([f"{NOW_S}\n"], NOW_S, None),
        ([f"{NOW_S + 3_000}\n"], NOW_S, None),  # a year later, without a boot
        (["nonsense", f"{NOW_S}\n"], NOW_S, None),
        (["0\n", f"{NOW_S}\n"], NOW_S, None),
        ([], NOW_S, "there is no battery-backed clock"),
        ([""], NOW_S, "rtc0 can't be read"),
        ([f"{NOW_S}\n"], NOW_S - 86_400, "rtc0 is 86400 s ahead of it"),  # set by fake-hwclock
        ([f"{NOW_S - 7_200}\n"], NOW_S, "rtc0 is 7200 s behind it"),  # in local time
        (["946684800\n"], 946_684_800, "is its battery empty"),  # 2000: it has set the other
        (["5\n"], 9, "is its battery empty"),
        ([f"{NOW_S + PLAUSIBLE_S}\n"], NOW_S + PLAUSIBLE_S, "is its battery empty"),
    ],
)
def test_a_battery_backed_clock_is_believed_only_where_it_agrees(tmp_path, told, utc_s, trouble):
    found = rtc_trouble(utc_s * 10**9, rtcs(tmp_path, *told))
    assert found is None if trouble is None else trouble in found


def test_the_wall_clock_is_trusted_for_its_rtc_where_the_operator_says_so(monkeypatch):
    monkeypatch.setattr(clock, "_LIBC", Kernel(0, LOST))
    trouble = ["there is none yet"]
    monkeypatch.setattr(clock, "rtc_trouble", lambda utc_ns: trouble[-1])
    monkeypatch.setattr(clock, "RTC_LOOK_NS", 0)
    confirmed = SystemClock(trust_rtc=True)
    assert not confirmed.read().utc_trusted
    trouble.append(None)
    reading = confirmed.read()
    assert (reading.utc_trusted, reading.utc_error_ms) == (True, None)
    trouble.append("rtc0 is 4000 s ahead of it")  # years without a boot
    assert confirmed.read().utc_trusted
    trouble.append(None)
    assert not SystemClock().read().utc_trusted


def test_a_missing_rtc_is_looked_for_only_now_and_then(monkeypatch):
    monkeypatch.setattr(clock, "_LIBC", Kernel(0, LOST))
    looks = []
    monkeypatch.setattr(clock, "rtc_trouble", lambda utc_ns: looks.append(utc_ns) or "none")
    confirmed = SystemClock(trust_rtc=True)
    for _ in range(100):
        confirmed.read()
    assert len(looks) == 1
