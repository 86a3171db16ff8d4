"""Earlier measurements of `edgerec doctor --chirp`, in a small file in the root's `.state`.

Written by the doctor only, read by the service for its status. An unreadable file is started again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from edgerec.health.status import Chirp
from edgerec.store import disk
from edgerec.validation.bounded_json import JsonError, read_json
from edgerec.validation.typed import from_plain

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


@dataclass(frozen=True, slots=True)
class _File:
    chirps: tuple[Chirp, ...]


def _parse(fields: object) -> tuple[Chirp, ...]:
    chirps = from_plain(_File, fields).chirps[-MAX_CHIRPS:]
    return tuple(replace(one, utc=one.utc[:MAX_UTC]) for one in chirps)
