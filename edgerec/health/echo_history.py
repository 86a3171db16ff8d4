"""Keeps the echo's history over months in the root's `.state`, and reports what is unusual now.

One record per day, and today's samples; a fixed maximum of both. Written once an hour and at the
end, by the writer thread. An unreadable file is started again and reported; it never stops
recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgerec.audio import TRACKS, EchoReport, SourceState, TrackName
from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.health.echo_memory import (
    CHIRP_FILE,
    MAX_DAYS,
    MAX_ERA,
    MAX_SAMPLES,
    MAX_SETUP,
    NOTHING,
    RECENT,
    Day,
    Remembered,
    Sample,
    read_chirps,
    read_echo,
    unusual,
    usual_of,
    write_echo,
)
from edgerec.health.status import Chirp, EchoDay, EchoStatus, Reason
from edgerec.session.timeline import SessionTimeline
from edgerec.store.disk import StoreError, look_at
from edgerec.validation.bounded_json import JsonError

log = logging.getLogger(__name__)

FILE: Final = "echo.json"
SAMPLE_NS: Final = 300 * 1_000_000_000  # what a canceller says follows the last 20 s of bot
SAVE_NS: Final = 3_600 * 1_000_000_000  # 80 kB an hour after a year: nothing to an SD card
DAY_NS: Final = 86_400 * 1_000_000_000
SHOWN_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class Observation:
    """The echo and the devices at present."""

    echo: EchoReport
    """The echo, its delay without `offset_ms`."""
    setup: str
    restarts: int
    """Names of both tracks' devices."""
    steady: bool
    """Whether both tracks have a device; a feed is played as it comes."""
    lasting: bool
    """Whether opening a device keeps the delay: no sound server is in between."""


@dataclass(frozen=True, slots=True)
class EchoKnown:
    """The echo's history and what is unusual about it; replaced as a whole."""

    status: EchoStatus = field(default_factory=EchoStatus)
    reasons: tuple[Reason, ...] = ()


def observe(
    config: Config, timeline: SessionTimeline | None, sources: Mapping[TrackName, SourceState]
) -> Observation | None:
    """Return what is known of the echo; None while there is none, or no devices for it."""
    if timeline is None or len(sources) < len(TRACKS):
        return None
    known = timeline.known()
    echo, devices = known["user"].echo, [known[name].device for name in TRACKS if name in known]
    if echo.delay_ms is None or echo.return_db is None or None in devices:
        return None
    user, bot = config.tracks.user, config.tracks.bot
    delay_ms = round(echo.delay_ms + user.offset_ms - bot.offset_ms, 1)
    return Observation(
        EchoReport(delay_ms, echo.return_db),
        " ".join(map(str, devices))[:MAX_SETUP],
        sum(state.restarts for state in sources.values()),
        steady="feed" not in (user.source, bot.source),
        lasting=all(str(device).startswith("alsa:") for device in devices),
    )


class EchoHistory:
    """Samples the echo, remembers it, and says what is unusual; for one thread but for `known`.

    Parameters
    ----------
    folder
        The storage root's state.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / FILE
        self._chirps = folder / CHIRP_FILE
        self._chirp: Chirp | None = None  # the last one in `_read_chirps` of its file
        self._read_chirps: tuple[int, int] | None = None
        self._clock = clock
        before, self._trouble = _read(self._path)
        self._setup, self._era = before.setup, before.era
        self._date = before.date  # of today
        self._today, self._days = list(before.today), list(before.days)
        self._began_ns = self._looked_ns = self._saved_ns = clock.now_ns()
        self._opened: Observation | None = None  # the last one
        self._recent: list[Sample] = []
        self._steady = False
        self._changed = False
        self.known = EchoKnown()
        """The history as known now; for any thread."""
        self._publish()

    def step(self, now_ns: int, look: Callable[[], Observation | None]) -> None:
        """Look every five minutes, and take a sample if the echo was heard again."""
        if now_ns - self._looked_ns < SAMPLE_NS:
            return
        self._looked_ns = now_ns
        observed = look()
        if observed is not None and (self._opened is None or observed != self._opened):
            heard = self._opened is None or observed.echo != self._opened.echo
            self._note_opening(observed)
            self._opened = observed
            if heard:
                self._take(observed, now_ns)
        self._publish()
        if now_ns - self._saved_ns >= SAVE_NS:
            self._saved_ns = now_ns
            self.save()

    def save(self) -> None:
        """Save what is new; a failing disk is logged and has no other effect."""
        if not self._changed:
            return
        try:
            write_echo(
                self._path,
                Remembered(
                    self._setup, self._era, self._date, tuple(self._today), tuple(self._days)
                ),
            )
        except StoreError as error:
            log.warning("echo history can't be saved why=%r", str(error))
        else:
            self._changed = False

    def _note_opening(self, now: Observation) -> None:
        """Begin a new era where the delay may have changed without that being a fault."""
        before = self._opened
        self._steady = now.steady
        # Before the first observation since the start, the devices were opened by it.
        opened = before is None or before.restarts != now.restarts
        if now.setup == self._setup and (now.lasting or not opened):
            return
        if now.setup != self._setup and self._today:
            self._end_day()  # a day is of one microphone
        self._setup = now.setup
        self._era = self._era % MAX_ERA + 1
        self._recent = []

    def _take(self, observed: Observation, now_ns: int) -> None:
        assert observed.echo.delay_ms is not None and observed.echo.return_db is not None
        clock = self._clock.read()
        date = _date(clock.utc_ns) if clock.utc_trusted else None
        if self._is_over(date, now_ns):
            self._end_day()
        if not self._today:
            self._began_ns = now_ns
        self._date = self._date or date
        sample = Sample(observed.echo.delay_ms, observed.echo.return_db, self._era)
        self._today.append(sample)
        self._recent = [*self._recent, sample][-RECENT:]
        self._changed = True

    def _is_over(self, date: str | None, now_ns: int) -> bool:
        """Tell whether another day has begun: a clock that is set back begins none by itself."""
        if not self._today:
            return False
        later = date is not None and self._date is not None and date > self._date
        long = now_ns - self._began_ns >= DAY_NS
        return later or long or len(self._today) >= MAX_SAMPLES

    def _end_day(self) -> None:
        self._days.append(Day.of(self._date, self._setup, self._today))
        del self._days[:-MAX_DAYS]
        self._today, self._date = [], None
        self._changed = True

    def _publish(self) -> None:
        usual = usual_of(self._days, self._today, self._setup, self._era)
        raised = frozenset(reason.code for reason in self.known.reasons)
        reasons = unusual(self._recent, usual, raised, steady=self._steady)
        for code in raised ^ {reason.code for reason in reasons}:
            if code in raised:
                log.info("the echo is normal again code=%s", code)
            else:
                log.warning("the echo is unusual code=%s", code)
        today = [Day.of(self._date, self._setup, self._today)] if self._today else []
        days = [*self._days, *today]
        recent = self._recent[-1] if self._recent else None
        status = EchoStatus(
            delay_ms=recent.delay_ms if recent else None,
            level_db=recent.level_db if recent else None,
            usual_delay_ms=usual.delay_ms,
            usual_level_db=usual.level_db,
            kept_days=len(days),
            days=tuple(
                EchoDay(day.date, day.count, day.delay_ms, day.level_db)
                for day in days[-SHOWN_DAYS:]
            ),
            chirp=self._last_chirp(),
            trouble=self._trouble,
        )
        self.known = EchoKnown(status, reasons)

    def _last_chirp(self) -> Chirp | None:
        """Return what the doctor measured last; its file is read when it has changed."""
        try:
            version = _version(self._chirps)
        except StoreError as error:
            log.warning("whether there is a new chirp is not known why=%r", str(error))
            return self._chirp
        if version != self._read_chirps:
            self._read_chirps = version
            self._chirp = next(reversed(read_chirps(self._chirps)), None)
        return self._chirp


def _version(path: Path) -> tuple[int, int] | None:
    found = look_at(path)
    return None if found is None else (found.st_mtime_ns, found.st_size)


def _read(path: Path) -> tuple[Remembered, str | None]:
    """Return the history in a file, and why it can't be read; None: it can, or there is no file."""
    try:
        return read_echo(path), None
    except JsonError as error:
        if error.missing:
            return NOTHING, None
        log.warning("echo history is started again path=%s why=%r", path, str(error))
        return NOTHING, f"the history of the echo was started again: {path}: {error}"


def _date(utc_ns: int) -> str:
    return datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
