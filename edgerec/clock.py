"""The machine's clocks, and whether its wall clock can be trusted: the only module that reads them.

The timeline runs on CLOCK_MONOTONIC_RAW, which no NTP slew bends. CLOCK_MONOTONIC (for outside
marks and sidecars) and the wall clock are reached through a `ClockReading`: all three, read at
one instant.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edgerec import kernel

BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
RTC_FOLDER: Final = Path("/sys/class/rtc")
RTC_AGREES_S: Final = 3600  # what 100 ppm are in a year without a boot, which sets one by the other
SECOND_NS: Final = 1_000_000_000
RTC_LOOK_NS: Final = 10 * SECOND_NS  # its driver may come late
PLAUSIBLE_S: Final = 20 * 365 * 86_400  # no kiosk is that much older than its software

_LIBC: Final = ctypes.CDLL(None)
_STA_UNSYNC: Final = 0x0040  # linux/timex.h: the kernel never had the true time, or lost it
_READING_TRIES: Final = 5  # the tightest of five brackets is under a microsecond on a Pi


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The same instant on every clock."""

    raw_ns: int
    """CLOCK_MONOTONIC_RAW."""
    monotonic_ns: int
    """CLOCK_MONOTONIC."""
    utc_ns: int
    """CLOCK_REALTIME, since 1970."""
    utc_trusted: bool
    """The kernel says its wall clock is synchronised, or the operator has confirmed its RTC."""
    utc_error_ms: float | None
    """The kernel's bound on the wall clock's error; None when it has none."""
    slept_ns: int = 0
    """Total time the machine has been suspended since it booted: the first two clocks stood still.

    CLOCK_BOOTTIME less CLOCK_MONOTONIC. NTP bends both alike, so nothing else changes it.
    """
    boot_id: str = ""
    """The boot from which the first two clocks count; empty if unknown."""


class Clock(Protocol):
    """Time as a parameter, so that tests run eight hours in two seconds."""

    def now_ns(self) -> int:
        """Return the time on CLOCK_MONOTONIC_RAW."""
        ...

    def read(self) -> ClockReading:
        """Return the same instant on every clock."""
        ...


class SystemClock:
    """The machine's own clocks.

    Parameters
    ----------
    trust_rtc
        The operator confirms that a battery-backed clock (RTC) sets the wall clock right at boot:
        it is trusted without being synchronised, once the RTC is found to agree with it.
    """

    def __init__(self, *, trust_rtc: bool = False) -> None:
        self._trust_rtc = trust_rtc
        self._boot_id = boot_id()
        self._rtc_agreed = False
        self._next_look_ns = 0

    def now_ns(self) -> int:
        """Return the time on CLOCK_MONOTONIC_RAW."""
        return raw_now_ns()

    def read(self) -> ClockReading:
        """Return one instant on every clock, from the tightest of a few brackets of readings."""
        spread, raw, monotonic, utc, boot = min(_bracket() for _ in range(_READING_TRIES))
        synchronised, error_ms = kernel_clock_state()
        if error_ms is not None:
            error_ms += spread / 1e6
        trusted = synchronised or (self._trust_rtc and self._rtc_agrees(raw, utc))
        return ClockReading(raw, monotonic, utc, trusted, error_ms, boot - monotonic, self._boot_id)

    def _rtc_agrees(self, raw_ns: int, utc_ns: int) -> bool:
        """Tell whether it ever did; from then on the two only drift apart."""
        if not self._rtc_agreed and raw_ns >= self._next_look_ns:
            self._next_look_ns = raw_ns + RTC_LOOK_NS
            self._rtc_agreed = rtc_trouble(utc_ns) is None
        return self._rtc_agreed


def rtc_trouble(utc_ns: int, folder: Path = RTC_FOLDER) -> str | None:
    """Return why no battery-backed clock confirms the wall clock; None: one does.

    One whose battery is empty begins again at 1970 or 2000, and sets the wall clock to that: a time
    before the software was installed is not believed.
    """
    utc_s = utc_ns // SECOND_NS
    trouble = "there is no battery-backed clock"
    try:
        installed_s = round(Path(__file__).stat().st_mtime)
        clocks = sorted(folder.glob("rtc*/since_epoch"))
    except OSError as error:
        return f"{folder} can't be looked at: {error.strerror}"
    for clock in clocks:
        name = clock.parent.name
        try:
            ahead_s = int(kernel.read_text(clock)) - utc_s
        except (OSError, ValueError):
            trouble = f"{name} can't be read"
            continue
        if abs(ahead_s) > RTC_AGREES_S:
            trouble = f"{name} is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} it"
        elif not installed_s <= utc_s <= installed_s + PLAUSIBLE_S:
            installed = time.strftime("%Y-%m-%d", time.gmtime(installed_s))
            trouble = (
                f"{name} is not a date after the installation of {installed}: is its battery empty"
            )
        else:
            return None
    return trouble


def raw_now_ns() -> int:
    """Return CLOCK_MONOTONIC_RAW; for the capture child, whose callback makes no objects."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def monotonic_now_ns() -> int:
    """Return CLOCK_MONOTONIC; for the capture child, whose devices stamp on it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _bracket() -> tuple[int, int, int, int, int]:
    before = raw_now_ns()
    monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    utc = time.clock_gettime_ns(time.CLOCK_REALTIME)
    after = raw_now_ns()
    return after - before, (before + after) // 2, monotonic, utc, boot


def boot_id() -> str:
    """Return the kernel's id of this boot, or "" where there is none."""
    try:
        return kernel.read_text(BOOT_ID_FILE).strip()
    except OSError:
        return ""


class _Timex(ctypes.Structure):
    """struct timex of linux/timex.h; only `status` and `maxerror` are used."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_clock_state() -> tuple[bool, float | None]:
    """Ask adjtimex(2) whether the wall clock is synchronised, and within how many milliseconds.

    Returns
    -------
    synchronised, error_ms
        (False, None) where the kernel is not disciplined or can't be asked.
    """
    timex = _Timex()
    try:
        result = _LIBC.adjtimex(ctypes.byref(timex))
    except AttributeError:
        return False, None
    if result < 0 or timex.status & _STA_UNSYNC:
        return False, None
    return True, timex.maxerror / 1000
