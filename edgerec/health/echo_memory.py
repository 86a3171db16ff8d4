"""Memory of the echo in the root's `.state`, and rules for what is unusual about the echo now.

Whenever the bot speaks and the microphone hears it, the turn detectors know how late and how loud.
Over weeks this reveals, without a sound server or a person, a microphone that gets dull, a
loudspeaker that was moved, or a buffer that has changed its length. The daily statistics are
written by the service; the measurements of `edgerec doctor --chirp` by the doctor, and read by the
service for its status. Both files are bounded in every respect, and validated when read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final, Self

from edgerec.health.status import Chirp, Measured, Reason, Spread
from edgerec.store import disk
from edgerec.validation.bounded_json import JsonError, read_json
from edgerec.validation.constraints import Between, Matches
from edgerec.validation.typed import from_plain

log = logging.getLogger(__name__)

FORMAT: Final = "edgerec-echo/1"
MAX_SAMPLES: Final = 288  # of a day, one each five minutes
MAX_DAYS: Final = 400  # a year, to compare a winter with the one before
MAX_SETUP: Final = 160  # characters of the devices' names
MAX_ERA: Final = 10**9
MAX_BYTES: Final = 1 << 20
"""Ten times what 400 days take: JSON may need twelve bytes for a character of a name."""
CHIRP_FILE: Final = "chirps.json"
MAX_CHIRPS: Final = 100  # a year of one each four days
MAX_CHIRP_BYTES: Final = 1 << 16
MAX_UTC: Final = 20  # characters

USUAL_DAYS: Final = 14
"""Number of days whose median is the usual value: a lasting change is usual after a week."""
LEAST_DAYS: Final = 3  # until a level has a usual: one party is not
LEAST_SAMPLES: Final = 5  # of a day that counts: 25 minutes in which the bot spoke
RECENT: Final = (
    3  # samples that must agree: a quarter of an hour, so that no single one is believed
)
STEP_MS: Final = 10.0
"""Step of the delay that is unusual: more than the 6 ms the canceller tolerates; 3 m of air."""
FAINTER_DB: Final = 10.0  # of level: a tenth of the power; a crowd in front of the kiosk takes 3
BACK: Final = 0.7  # of a threshold: what comes and goes at it is one warning

Count = Annotated[int, Between(0, MAX_ERA)]
Setup = Annotated[str, Matches(f"(?s:.{{0,{MAX_SETUP}}})", f"of at most {MAX_SETUP} characters")]
Date = Annotated[
    str,
    Matches("[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "that is a date: 2026-11-22"),
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of the echo."""

    delay_ms: Measured
    """Delay between the devices, as if no `offset_ms` were set."""
    level_db: Measured
    """Against the bot's track."""
    era: Count
    """Number of times a device was opened in a way that may have changed the delay."""


@dataclass(frozen=True, slots=True)
class Day:
    """The samples of one day."""

    date: Date | None
    """Date in UTC; None: the wall clock could not be trusted that day."""
    setup: Setup
    """Names of the devices."""
    era: Count
    """The last era of the day."""
    count: Count
    delay_ms: Spread
    level_db: Spread
    settled_ms: Measured
    """Median of the delay in the day's last era."""

    @classmethod
    def of(cls, date: str | None, setup: str, samples: Sequence[Sample]) -> Self:
        """Return the day of one or more samples."""
        era = samples[-1].era
        return cls(
            date,
            setup,
            era,
            len(samples),
            _spread([sample.delay_ms for sample in samples]),
            _spread([sample.level_db for sample in samples]),
            round(median(sample.delay_ms for sample in samples if sample.era == era), 1),
        )


@dataclass(frozen=True, slots=True)
class Remembered:
    """The daily statistics, as one file holds them."""

    setup: Setup
    """Names of the devices."""
    era: Count
    date: Date | None
    """Date of `today`."""
    today: tuple[Sample, ...]
    days: tuple[Day, ...]
    """The days before today, oldest first."""


NOTHING: Final = Remembered("", 0, None, (), ())


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual values an echo is compared with; None where too little is known."""

    delay_ms: float | None = None
    level_db: float | None = None
    days: int = 0
    """Number of days that the level is the median of."""


def _spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), round(median(values), 1), max(values))


def usual_of(days: Sequence[Day], today: Sequence[Sample], setup: str, era: int) -> Usual:
    """Return what is usual.

    Parameters
    ----------
    days
        The days before today, oldest first.
    era
        The current era. Delays of another one do not count: on a sound server, opening a device may
        shift the delay by tens of milliseconds.
    """
    counted = [day for day in days if day.setup == setup and day.count >= LEAST_SAMPLES]
    counted = counted[-USUAL_DAYS:]
    level = None
    if len(counted) >= LEAST_DAYS:
        level = round(median(day.level_db.median for day in counted), 1)
    delays = [day.settled_ms for day in counted if day.era == era]
    if not delays:
        here = [sample.delay_ms for sample in today if sample.era == era]
        # The first ones, so that a step is one for as long as the day lasts.
        delays = here[:LEAST_SAMPLES] if len(here) >= LEAST_SAMPLES else []
    delay = round(median(delays), 1) if delays else None
    return Usual(delay, level, len(counted) if level is not None else 0)


def unusual(
    recent: Sequence[Sample], usual: Usual, raised: frozenset[str], *, steady: bool
) -> tuple[Reason, ...]:
    """Return what is wrong with the echo.

    Parameters
    ----------
    recent
        The last samples, `RECENT` of them or fewer.
    raised
        The codes that were returned the last time.
    steady
        Whether the delay should stay as it is while the devices are open.
    """
    if len(recent) < RECENT:
        return ()
    reasons = []
    delay_ms = median(sample.delay_ms for sample in recent)
    level_db = median(sample.level_db for sample in recent)
    if steady and usual.delay_ms is not None:
        step_ms = delay_ms - usual.delay_ms
        if abs(step_ms) >= _threshold(STEP_MS, "echo_moved", raised):
            reasons.append(_moved(delay_ms, step_ms))
    if usual.level_db is not None:
        fallen_db = usual.level_db - level_db
        if fallen_db >= _threshold(FAINTER_DB, "echo_faint", raised):
            reasons.append(_faint(level_db, fallen_db, usual.days))
    return tuple(reasons)


def _threshold(value: float, code: str, raised: frozenset[str]) -> float:
    return value * BACK if code in raised else value


def _moved(delay_ms: float, step_ms: float) -> Reason:
    return Reason(
        "echo_moved",
        "user",
        f"the microphone hears the loudspeaker {delay_ms:.0f} ms late, {step_ms:+.0f} ms from the "
        "usual delay, and no device was reopened",
        "was the loudspeaker moved, or does what plays on it buffer more or less? "
        "`edgerec doctor --chirp` measures the delay and says which offset_ms to set",
    )


def _faint(level_db: float, fallen_db: float, days: int) -> Reason:
    return Reason(
        "echo_faint",
        "user",
        f"the microphone hears the loudspeaker {fallen_db:.0f} dB fainter than usual "
        f"({level_db:+.0f} dB against the bot's track; the usual is of {days} days)",
        "is the microphone covered, dirty or turned down, or the loudspeaker turned down or away? "
        "`edgerec doctor --chirp` shows the levels; a change for good is usual after a week",
    )


def read_echo(path: Path) -> Remembered:
    """Read the daily statistics.

    Raises
    ------
    JsonError
        There is no file, it can't be read, or it has another format.
    """
    return read_json(path, _echo, max_bytes=MAX_BYTES)


def _echo(fields: Mapping[str, Any]) -> Remembered:
    if fields["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    today = [
        dict(zip(Sample.__slots__, sample, strict=True))
        for sample in fields["samples"][-MAX_SAMPLES:]
    ]
    days = fields["days"][-MAX_DAYS:]
    return from_plain(Remembered, {**fields, "today": today, "days": days})


def write_echo(path: Path, remembered: Remembered) -> None:
    """Write the daily statistics, durably: at any moment the file holds the old or the new ones.

    Raises
    ------
    StoreError
        The disk did not take it.
    """
    fields = asdict(remembered)
    samples = [list(sample.values()) for sample in fields.pop("today")]
    document = {"format": FORMAT, **fields, "samples": samples}
    disk.replace(path, json.dumps(document).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class _Chirps:
    chirps: tuple[Chirp, ...]


def read_chirps(path: Path) -> tuple[Chirp, ...]:
    """Return the doctor's measurements, the last one last; none where they can't be read."""
    try:
        return read_json(path, _chirps, max_bytes=MAX_CHIRP_BYTES)
    except JsonError as error:
        if not error.missing:
            log.warning("earlier chirps can't be read path=%s why=%r", path, str(error))
        return ()


def _chirps(fields: object) -> tuple[Chirp, ...]:
    chirps = from_plain(_Chirps, fields).chirps[-MAX_CHIRPS:]
    return tuple(replace(one, utc=one.utc[:MAX_UTC]) for one in chirps)


def add_chirp(path: Path, chirp: Chirp) -> None:
    """Add a measurement to its file, durably; the oldest one goes where there are too many.

    Raises
    ------
    StoreError
        The disk did not take it.
    """
    chirps = (*read_chirps(path), chirp)[-MAX_CHIRPS:]
    disk.replace(path, json.dumps(asdict(_Chirps(chirps))).encode() + b"\n")
