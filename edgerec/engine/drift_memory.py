"""Stores each device's drift between runs, so that the next start is exact sooner.

Kept in the state folder of the storage root. Losing it costs a millisecond's accuracy for a minute.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgerec.store import disk
from edgerec.store.bounded_json import JsonError, read_json
from edgerec.store.disk import StoreError
from edgerec.sync.device_clock import MAX_DRIFT_PPM

log = logging.getLogger(__name__)

FILE: Final = "drift.json"
MAX_BYTES: Final = 1 << 16  # hundreds of times what the devices of a kiosk need
SAVE_NS: Final = 600 * 1_000_000_000  # a write every ten minutes is nothing to an SD card
WORTH_SAVING_PPM: Final = 0.5  # a tenth of what the next run allows for


class DriftMemory:
    """Drift in ppm by device, between runs.

    Parameters
    ----------
    path
        Path of the file, which is read at once. A malformed one is ignored with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.drift_ppm: dict[str, float] = _read(path)
        """Drift by device: written by the recorder thread, saved by the writer thread."""
        self._path = path
        self._saved = dict(self.drift_ppm)
        self._looked_ns: int | None = None

    def save_now_and_then(self, now_ns: int) -> None:
        """Save every ten minutes, if there is something new."""
        if self._looked_ns is None:
            self._looked_ns = now_ns
        if now_ns - self._looked_ns >= SAVE_NS:
            self._looked_ns = now_ns
            self.save()

    def save(self) -> None:
        """Save what has changed; a failing disk is logged and has no other effect."""
        current = dict(self.drift_ppm)  # one step under the GIL: the recorder thread keeps writing
        if not any(self._is_news(device, ppm) for device, ppm in current.items()):
            return
        try:
            disk.replace(self._path, json.dumps(current).encode() + b"\n")
        except StoreError as error:
            log.warning("drift is not remembered why=%r", str(error))
        else:
            self._saved = current

    def _is_news(self, device: str, drift_ppm: float) -> bool:
        saved = self._saved.get(device)
        return saved is None or abs(drift_ppm - saved) >= WORTH_SAVING_PPM


def _read(path: Path) -> dict[str, float]:
    try:
        return read_json(path, _parse, max_bytes=MAX_BYTES)
    except JsonError as error:
        if not error.missing:
            log.warning("remembered drift can't be read path=%s why=%r", path, str(error))
        return {}


def _parse(fields: Mapping[str, object]) -> dict[str, float]:
    return {device: _drift(ppm) for device, ppm in fields.items()}


def _drift(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= MAX_DRIFT_PPM
    ):
        raise ValueError(f"{value!r} is not a drift in ppm")
    return float(value)
