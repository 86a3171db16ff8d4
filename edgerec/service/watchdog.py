"""Reports to systemd: readiness, a status line, and the watchdog.

systemd kills a service that is silent for `WatchdogSec` and starts it again. So `WATCHDOG=1` is
never sent because time has passed, only because both threads of the recording have made progress
since it was sent last: the recorder thread by committing frames, of sound or of declared silence,
and the writer thread by writing, or by having declared the disk's trouble.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final, Self

from edgerec.clock import SECOND_NS, Clock
from edgerec.health.verdict import Vitals
from edgerec.session.threads import ThreadMaker

log = logging.getLogger(__name__)

LOOKS: Final = 4
"""Number of checks in the time that systemd waits: one without progress is not the end."""
UNREADY_LOOK_S: Final = 0.25
"""Time between checks until READY=1: units that are started after this service wait for it."""
UNWATCHED_LOOK_S: Final = 5.0
"""Time between checks without a systemd watchdog, to keep the status line current."""
WRITER_STALLS: Final = 4
"""Multiple of `storage.stall_seconds` for which the writer thread may be blocked in one call.
Killing the service does not fix a stalling card, and would restart the recovery of a long chunk:
the last resort."""


class Watchdog:
    """Decides whether the recording is alive. Pure apart from remembering the last check.

    Parameters
    ----------
    writer_patience_ns
        How long the writer thread may be blocked in one call, declaring nothing, before that counts
        as hanging: longer than a disk may stall.
    """

    def __init__(self, writer_patience_ns: int) -> None:
        self._writer_patience_ns = writer_patience_ns
        self._fed: Vitals | None = None  # what was true when it was last alive
        self._written = -1
        self._written_ns = 0

    def alive(self, vitals: Vitals, now_ns: int) -> bool:
        """Tell whether both threads have made progress since this was last true."""
        if vitals.written != self._written:
            self._written, self._written_ns = vitals.written, now_ns
        writes = vitals.trouble is not None or now_ns - self._written_ns <= self._writer_patience_ns
        alive = writes and (self._fed is None or _captures(self._fed, vitals))
        if alive:
            self._fed = vitals
        return alive


def _captures(before: Vitals, now: Vitals) -> bool:
    if now.captured:
        return True
    if before.seconds is None or now.seconds is None:
        return now.rounds != before.rounds
    return now.committed != before.committed


def is_ready(vitals: Vitals) -> bool:
    """Tell whether recording has begun, or the obstacle is declared.

    That is: no device is still being opened, and frames of those that are there are durable; or
    nothing is to be recorded yet; or the disk is known to take nothing.
    """
    if any(state.name == "starting" for state in vitals.sources.values()):
        return False
    return vitals.seconds is None or vitals.durable > 0 or vitals.trouble is not None


def status_line(vitals: Vitals, now_ns: int) -> str:
    """Return one line of text for `systemctl status`."""
    if vitals.seconds is None:
        parts = ["not recording"]
    else:
        minutes, seconds = divmod(int(vitals.seconds), 60)
        parts = [f"recording {minutes // 60}:{minutes % 60:02}:{seconds:02}"]
    for name, state in vitals.sources.items():
        since_s = max(0, now_ns - state.since_ns) // SECOND_NS
        detail = f" ({state.detail})" if state.detail and state.name != "running" else ""
        parts.append(f"{name} {state.name} for {since_s} s{detail}")
    if vitals.trouble is not None:
        parts.append(f"disk: {vitals.trouble}")
    return "; ".join(parts).replace("\n", " ")


class Supervisor:
    """Checks the recording periodically, in a thread of its own, and reports to systemd.

    READY=1 comes once `is_ready`.

    Parameters
    ----------
    vitals
        Called at every check; must not wait for the threads it reports on.
    stall_s
        How long the disk may stall without harm.
    notify
        Sends lines of sd_notify(3).
    watchdog_s
        Watchdog time announced by systemd; None: it does not watch.
    """

    def __init__(
        self,
        vitals: Callable[[], Vitals],
        clock: Clock,
        *,
        stall_s: float,
        notify: Callable[[str], None],
        watchdog_s: float | None,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._vitals = vitals
        self._clock = clock
        self._notify = notify
        self._watched = watchdog_s is not None
        self._look_s = UNWATCHED_LOOK_S if watchdog_s is None else watchdog_s / LOOKS
        self._watchdog = Watchdog(round(WRITER_STALLS * stall_s * SECOND_NS))
        self._silent = False
        self._fed_ns = self._clock.now_ns()
        self._ready = False
        self._leaving = threading.Event()
        self._thread = make_thread(target=self._run, name="supervisor")

    def look(self) -> None:
        """Check once: feed the watchdog if the recording is alive, and update the status line."""
        vitals, now_ns = self._vitals(), self._clock.now_ns()
        lines = [f"STATUS={status_line(vitals, now_ns)}"]
        if not self._ready and is_ready(vitals):
            self._ready = True
            lines.append("READY=1")
        alive = self._watchdog.alive(vitals, now_ns)
        if alive and self._watched:
            lines.append("WATCHDOG=1")
        if alive:
            self._fed_ns, self._silent = now_ns, False
        # While it starts it is looked at more often than the recorder thread goes round.
        elif not self._silent and now_ns - self._fed_ns >= self._look_s * SECOND_NS:
            self._silent = True
            log.error(
                "recording is stalled; systemd will restart the service unless it recovers"
                " rounds=%d written=%d",
                vitals.rounds,
                vitals.written,
            )
        self._notify("\n".join(lines))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        self.look()
        while not self._leaving.wait(self._look_s if self._ready else UNREADY_LOOK_S):
            self.look()


def watchdog_s() -> float | None:
    """Return after how many seconds without WATCHDOG=1 systemd kills us; None: never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds.isdigit() and mine else None


def tell_systemd(state: str) -> None:
    """Send lines of sd_notify(3), such as ``READY=1``; does nothing where systemd did not ask."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    from systemd import daemon  # only there on Linux, and only needed here

    daemon.notify(state)
