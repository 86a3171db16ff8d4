"""Earlier measurements of `edgerec doctor --chirp`, in a small file in the root's `.state`.

Written by the doctor only, read by the service for its status. An unreadable file is started again.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edgerec.health.status import Chirp
from edgerec.store import disk
from edgerec.validation.bounded_json import JsonError, read_json

log = logging.getLogger(__name__)

FILE: Final = "chirps.json"
MAX_CHIRPS: Final = 100  # a year of one each four days
MAX_BYTES: Final = 1 << 16
MAX_UTC: Final = 20  # characters


def read_chirps(path: Path) -> tuple[Chirp, ...]:
    """Return the measurements in a file, the last one last; none where it can't be read."""
    try:
        return read_json(path, _parse, max_bytes=MAX_BYTES)
    except JsonError as error:
        if not error.missing:
            log.warning("earlier chirps can't be read path=%s why=%r", path, str(error))
        return ()


def add_chirp(path: Path, chirp: Chirp) -> None:
    """Add a measurement to a file, durably; the oldest one goes where there are too many.

    Raises
    ------
    StoreError
        The disk did not take it.
    """
    kept: Sequence[Chirp] = [*read_chirps(path), chirp][-MAX_CHIRPS:]
    document = {"chirps": [asdict(one) for one in kept]}
    disk.replace(path, json.dumps(document).encode() + b"\n")


def _parse(fields: Mapping[str, Any]) -> tuple[Chirp, ...]:
    return tuple(map(_chirp, fields["chirps"][-MAX_CHIRPS:]))


def _chirp(fields: Mapping[str, Any]) -> Chirp:
    return Chirp(
        utc=str(fields["utc"])[:MAX_UTC],
        utc_trusted=fields["utc_trusted"] is True,
        delay_ms=_number(fields["delay_ms"]),
        user_dbfs=_number(fields["user_dbfs"]),
        bot_dbfs=_number(fields["bot_dbfs"]),
    )


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
