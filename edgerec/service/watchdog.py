"""What systemd is told: that it records, how it goes, and that it still does.

systemd kills a service that is silent for `WatchdogSec` and starts it again. So `WATCHDOG=1` is
never sent because time has passed, only because both threads of the recording have got on since
it was sent last: the recorder thread by committing frames, of sound or of declared silence, and
the writer thread by writing, or by having declared what trouble the disk makes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from edgerec.audio import TrackName
from edgerec.clock import Clock
from edgerec.session.threads import ThreadMaker
from edgerec.source_state import SourceState

log = logging.getLogger(__name__)

_SECOND_NS: Final = 1_000_000_000
LOOKS: Final = 4
"""In the time that systemd waits: a look that finds nothing new is not the end."""
UNREADY_LOOK_S: Final = 0.25
"""Until READY=1: what is started after this service waits for it."""
UNWATCHED_LOOK_S: Final = 5.0
"""Where systemd has no watchdog, the status line still wants to be fresh."""
WRITER_STALLS: Final = 4
"""Times `storage.stall_seconds` that the writer thread may stand in one call. Killing it does not
mend a card that stalls, and what it may be at, the recovery of one long chunk, would have to begin
anew: the last resort."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the recording has done so far; its threads count, and `Watchdog` compares."""

    seconds: float | None
    """Committed in the session that is recorded; None: there is none, so nothing is committed."""
    committed: int
    """Frames of all sessions, and one more for each that has ended: sessions of the same length at
    every look are progress. While there is one, nothing else shows that the recorder thread does
    its work."""
    rounds: int
    """Of the recorder thread. While there is no session, nothing else shows that it looks for
    the devices."""
    durable: int
    """Frames of the session that is recorded which survive a power cut, or are declared lost."""
    captured: bool
    """The recorder thread has ended, as it should: all that is left is to write."""
    written: int
    """Steps of the writer thread, and pieces within them."""
    trouble: str | None
    """Why nothing can be written, as the writer thread has declared it."""
    sources: Mapping[TrackName, SourceState]


class Watchdog:
    """Decides whether the recording lives. Pure but for what it remembers of the last look.

    Parameters
    ----------
    writer_patience_ns
        How long the writer thread may stand in one call, declaring nothing, before that counts as
        hanging: longer than a disk may stall.
    """

    def __init__(self, writer_patience_ns: int) -> None:
        self._writer_patience_ns = writer_patience_ns
        self._fed: Vitals | None = None  # what was true when it was last alive
        self._written = -1
        self._written_ns = 0

    def alive(self, vitals: Vitals, now_ns: int) -> bool:
        """Tell whether both threads have got on since this was last true."""
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
    """Tell whether a start has become a recording, or what is in its way is declared.

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
        since_s = max(0, now_ns - state.since_ns) // _SECOND_NS
        detail = f" ({state.detail})" if state.detail and state.name != "running" else ""
        parts.append(f"{name} {state.name} for {since_s} s{detail}")
    if vitals.trouble is not None:
        parts.append(f"disk: {vitals.trouble}")
    return "; ".join(parts).replace("\n", " ")


class Supervisor:
    """Looks at the recording now and then, in a thread of its own, and tells systemd.

    READY=1 comes once `is_ready`.

    Parameters
    ----------
    vitals
        Asked at every look; must not wait for the threads it tells of.
    stall_s
        How long the disk may stall without harm.
    notify
        Sends lines of sd_notify(3).
    watchdog_s
        What systemd said it waits for; None: it does not watch.
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
        self._watchdog = Watchdog(round(WRITER_STALLS * stall_s * _SECOND_NS))
        self._silent = False
        self._fed_ns = self._clock.now_ns()
        self._ready = False
        self._leaving = threading.Event()
        self._thread = make_thread(target=self._run, name="supervisor", daemon=True)

    def look(self) -> None:
        """Look once: feed the watchdog if the recording lives, and say how it goes."""
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
        elif not self._silent and now_ns - self._fed_ns >= self._look_s * _SECOND_NS:
            self._silent = True
            log.error(
                "the recording does not get on, and is ended unless it does rounds=%d written=%d",
                vitals.rounds,
                vitals.written,
            )
        self._notify("\n".join(lines))

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop looking."""
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
