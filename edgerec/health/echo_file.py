"""The file of the echo's daily statistics: bounded in every respect, and validated when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from edgerec.health.echo_days import Day, Sample
from edgerec.health.status import Spread
from edgerec.store import disk
from edgerec.validation.bounded_json import read_json

FORMAT: Final = "edgerec-echo/1"
MAX_SAMPLES: Final = 288  # of a day, one each five minutes
MAX_DAYS: Final = 400  # a year, to compare a winter with the one before
MAX_SETUP: Final = 160  # characters of the devices' names
MAX_ERA: Final = 10**9
MAX_BYTES: Final = 1 << 20
"""Ten times what 400 days take: JSON may need twelve bytes for a character of a name."""
_RANGE: Final = 10_000.0  # of milliseconds and decibels


@dataclass(frozen=True, slots=True)
class Remembered:
    """The content of the file."""

    setup: str = ""
    """Names of the devices."""
    era: int = 0
    date: str | None = None
    """Samples of today."""
    today: tuple[Sample, ...] = ()
    days: tuple[Day, ...] = ()
    """The days before today, oldest first."""


def read_echo(path: Path) -> Remembered:
    """Read the file.

    Raises
    ------
    JsonError
        There is none, it can't be read, or it has another format.
    """
    return read_json(path, _parse, max_bytes=MAX_BYTES)


def _parse(fields: Mapping[str, Any]) -> Remembered:
    if fields["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    return Remembered(
        str(fields["setup"])[:MAX_SETUP],
        _count(fields["era"]),
        _date(fields["date"]),
        tuple(
            Sample(_number(delay_ms), _number(level_db), _count(era))
            for delay_ms, level_db, era in fields["samples"][-MAX_SAMPLES:]
        ),
        tuple(map(_day, fields["days"][-MAX_DAYS:])),
    )


def write_echo(path: Path, remembered: Remembered) -> None:
    """Write the file, durably: at any moment it holds the old content or the new one.

    Raises
    ------
    StoreError
        The disk did not take it.
    """
    document = {
        "format": FORMAT,
        "setup": remembered.setup,
        "era": remembered.era,
        "date": remembered.date,
        "samples": [[one.delay_ms, one.level_db, one.era] for one in remembered.today],
        "days": [asdict(day) for day in remembered.days],
    }
    disk.replace(path, json.dumps(document).encode() + b"\n")


def _day(fields: Mapping[str, Any]) -> Day:
    return Day(
        _date(fields["date"]),
        str(fields["setup"])[:MAX_SETUP],
        _count(fields["era"]),
        _count(fields["count"]),
        _spread(fields["delay_ms"]),
        _spread(fields["level_db"]),
        _number(fields["settled_ms"]),
    )


def _spread(fields: Mapping[str, Any]) -> Spread:
    return Spread(_number(fields["low"]), _number(fields["median"]), _number(fields["high"]))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _RANGE:
        raise ValueError(f"{value!r} is not a number, or out of range")
    return float(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ERA:
        raise ValueError(f"{value!r} is not a count")
    return value


def _date(value: object) -> str | None:
    return None if value is None else date.fromisoformat(str(value)).isoformat()
