"""Checks what on this machine would make a recording fail.

One function per subject; each returns findings, and every finding that is not "ok" says what to do.
Nothing is changed except for a file that is written to measure the disk, and removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgerec import kernel
from edgerec.clock import SystemClock, kernel_clock_state, rtc_trouble
from edgerec.config import Config
from edgerec.engine.plan import Plan
from edgerec.health.status import Status
from edgerec.store.disk import StoreError, check_movable
from edgerec.store.mount import Medium, check_mounted, medium_of
from edgerec.turns.silero import is_installed as silero_is_installed

Severity = Literal["ok", "note", "warning", "failure"]

PROBE_BYTES: Final = 256 * 1024
PROBES: Final = 8
SLOW_SYNC_S: Final = 1.0  # a worn card; recording itself outlasts storage.stall_seconds
LEAST_BYTES_PER_S: Final = 1_000_000  # twenty times what two tracks at 48 kHz take
LEAST_FREE_BYTES: Final = 1_000_000_000  # four hours at 16 kHz
TOOL_TIMEOUT_S: Final = 5.0
THROTTLED_FILE: Final = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
SOUND_FOLDER: Final = Path("/dev/snd")

# vcgencmd get_throttled: bits of now, and 16 above them since the boot.
_THROTTLED: Final = {
    0: "under-voltage",
    1: "a capped ARM frequency",
    2: "throttling",
    3: "the soft temperature limit",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    area: str
    """Subject in a word: `config`, `device`, `disk`, ..."""
    severity: Severity
    told: str
    fix: str = ""
    """What to do about it; empty where there is nothing to do."""


def check_permissions(config: Config) -> Iterator[Finding]:
    """Check that this user may do what the service has to do."""
    uses_alsa = any(t.source == "portaudio" for t in config.tracks.used.values())
    files = sorted(SOUND_FOLDER.glob("pcm*")) if uses_alsa else []
    closed = [file.name for file in files if not os.access(file, os.R_OK | os.W_OK)]
    if closed:
        yield Finding(
            "permission",
            "failure",
            f"this user may not open {SOUND_FOLDER}/{closed[0]}",
            "add the service's user to the group audio: usermod -a -G audio USER",
        )
    root = config.storage.root
    # Of os.path: those of pathlib raise where a folder above may not be looked into.
    folder = root if os.path.exists(root) else root.parent  # noqa: PTH110
    if not os.path.isdir(folder):  # noqa: PTH112
        fix = f"make it: install -d -o USER {folder}"
        yield Finding("permission", "failure", f"{folder} is not there", fix)
    elif not os.access(folder, os.W_OK | os.X_OK):
        fix = f"chown it to the service's user, or run this as that user: {folder}"
        yield Finding("permission", "failure", f"this user may not write to {folder}", fix)
    else:
        yield Finding("permission", "ok", f"{folder} can be written to")


def check_disk(config: Config, now_s: Callable[[], float] = time.monotonic) -> Iterator[Finding]:
    """Check the free space, and how fast the disk makes data durable."""
    root = config.storage.root
    try:
        check_mounted(root, require_mount=config.storage.require_mount)
    except StoreError as error:
        yield Finding("disk", "failure", str(error), "mount it, then start again")
    folder = root if os.path.isdir(root) else root.parent  # noqa: PTH112
    if not os.path.isdir(folder):  # noqa: PTH112
        return
    free = shutil.disk_usage(folder).free
    room = free - config.retention.min_free_bytes
    told = f"{free / 1e9:.1f} GB free on the disk of {folder}"
    if room < LEAST_FREE_BYTES:
        fix = "free some, or give storage.root another disk; see `retention` as well"
        yield Finding("disk", "warning", told, fix)
    else:
        yield Finding("disk", "ok", told)
    try:
        medium = medium_of(folder)
    except StoreError as error:
        yield Finding("disk", "failure", str(error), "see the kernel log: dmesg")
        return
    yield from _check_medium(folder, medium)
    if os.access(folder, os.W_OK | os.X_OK):
        yield from _check_publishing(folder)
        if medium != "memory":
            yield _disk_speed(folder, now_s)


def _check_medium(folder: Path, medium: Medium) -> Iterator[Finding]:
    fix = (
        "give storage.root a disk; on a Raspberry Pi switch the overlay file system off "
        "(raspi-config, Performance), or record on another partition"
    )
    if medium == "memory":
        yield Finding("disk", "warning", f"{folder} is in memory, gone at the next boot", fix)
    elif medium == "unknown":
        told = f"{folder} is on an overlay whose upper layer can't be seen: it may be in memory"
        yield Finding("disk", "note", told, f"if everything there is gone after a boot, {fix}")


def _check_publishing(folder: Path) -> Iterator[Finding]:
    try:
        check_movable(folder, folder)
    except StoreError as error:
        yield Finding("disk", "failure", str(error), "give storage.root another file system")


def _disk_speed(folder: Path, now_s: Callable[[], float]) -> Finding:
    probe = folder / f".edgerec-doctor-{os.getpid()}"
    syncs = []
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(PROBES):
                began_s = now_s()
                os.write(fd, bytes(PROBE_BYTES))
                os.fsync(fd)
                syncs.append(now_s() - began_s)
        finally:
            os.close(fd)
            probe.unlink()
    except OSError as error:
        return Finding(
            "disk", "failure", f"writing to {folder}: {error.strerror}", "see the kernel log: dmesg"
        )
    rate = PROBE_BYTES * PROBES / max(sum(syncs), 1e-6)
    told = f"durable writing: {rate / 1e6:.1f} MB/s, at most {max(syncs):.2f} s at once"
    if rate < LEAST_BYTES_PER_S or max(syncs) > SLOW_SYNC_S:
        fix = "a worn or slow card: replace it, raise storage.stall_seconds and sync_seconds"
        return Finding("disk", "warning", told, fix)
    return Finding("disk", "ok", told)


def check_clock(
    *,
    trust_rtc: bool = False,
    state: Callable[[], tuple[bool, float | None]] = kernel_clock_state,
    rtc: Callable[[int], str | None] = rtc_trouble,
) -> Iterator[Finding]:
    """Check that the wall clock is synchronised, or trusted."""
    synchronised, error_ms = state()
    if synchronised:
        bound = "" if error_ms is None else f", within {error_ms:.0f} ms"
        yield Finding("clock", "ok", f"the wall clock is synchronised{bound}")
        return
    trouble = rtc(SystemClock().read().utc_ns)
    if trust_rtc and trouble is None:
        told = "the wall clock is trusted for its battery-backed clock: storage.trust_rtc"
        yield Finding("clock", "ok", told)
        return
    told = (
        "the wall clock is not synchronised: files wait for it up to storage.utc_wait_s, and their "
        "names may be wrong"
    )
    if trust_rtc:
        told += f"; storage.trust_rtc does not help: {trouble}"
        yield Finding("clock", "warning", told, "see `timedatectl`; replace the clock's battery")
    elif trouble is None:
        fix = "timedatectl set-ntp true; with no network, storage.trust_rtc: true if it is right"
        yield Finding("clock", "note", told, fix)
    else:
        fix = "timedatectl set-ntp true; with no network, a battery-backed clock"
        yield Finding("clock", "note", told, fix)


def check_turns(
    config: Config, installed: Callable[[], bool] = silero_is_installed
) -> Iterator[Finding]:
    """Check that the configured detector of the user's turns is installed."""
    wanted = config.turns.detector.user
    turns = Plan.of(config).turns
    if not turns.wanted or wanted not in ("auto", "silero"):
        return
    fix = "install it: scripts/install --vad, or elsewhere the Python extra edgerec[vad]"
    if installed():
        yield Finding("turns", "ok", "silero finds the user's turns")
    elif wanted == "auto":
        told = "silero is not installed: earshot finds the user's turns, and more false ones"
        yield Finding("turns", "note", told, fix)
    else:
        told = "silero is not installed: no turns will be found"
        if turns.speech_only:
            told += ", and all of the microphone will be recorded"
        yield Finding("turns", "warning", told, f"{fix}; or set turns.detector.user to auto")


def check_power(read: Callable[[], int | None] | None = None) -> Iterator[Finding]:
    """Check whether a Raspberry Pi has had too little power, or was too hot."""
    flags = (read or read_throttled)()
    if flags is None:
        return  # no Raspberry Pi
    now = [told for bit, told in _THROTTLED.items() if flags >> bit & 1]
    before = [told for bit, told in _THROTTLED.items() if flags >> (bit + 16) & 1]
    fix = "a power supply of its own for the Pi, a shorter cable, a heat sink"
    if now:
        yield Finding("power", "warning", f"now: {', '.join(now)}", fix)
    elif before:
        yield Finding("power", "warning", f"since the boot: {', '.join(before)}", fix)
    else:
        yield Finding("power", "ok", "enough power, and cool, since the boot")


def read_throttled() -> int | None:
    """Return the firmware's throttling flags; None where there are none."""
    try:
        return int(kernel.read_text(THROTTLED_FILE), 16)
    except (OSError, ValueError):
        pass
    command = ["vcgencmd", "get_throttled"]
    try:
        said = subprocess.run(
            command, capture_output=True, timeout=TOOL_TIMEOUT_S, check=False
        ).stdout
        return int(said.partition(b"=")[2], 16)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def check_service(status: Status | None, why_not: str = "") -> Iterator[Finding]:
    """Report the running service's status; None: it does not answer, `why_not` says why."""
    if status is None:
        yield Finding(
            "service", "note", f"not running: {why_not}", "start it: systemctl start edgerec"
        )
        return
    for reason in status.reasons:
        severity: Severity = "failure" if status.state == "failed" else "warning"
        yield Finding("service", severity, reason.why, reason.hint)
    if not status.reasons:
        yield Finding("service", "ok", f"it runs, and is {status.state}")
    for name, track in status.tracks.items():
        if track.state == "running":
            peak = track.peak_dbfs
            heard = "digital silence" if peak is None else f"a peak of {peak:.0f} dBFS"
            yield Finding("level", "ok", f"{name}: {heard} in the last second")
