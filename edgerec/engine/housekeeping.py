"""Chores of the writer thread, such as saving drift; one that fails does not stop the others."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edgerec.clock import SECOND_NS
from edgerec.health.verdict import Reason
from edgerec.store import disk
from edgerec.store.disk import StoreError
from edgerec.sync.device_clock import MAX_DRIFT_PPM
from edgerec.validation.bounded_json import JsonError, read_json

log = logging.getLogger(__name__)

RETRY_NS: Final = 60 * SECOND_NS
FILE: Final = "drift.json"
MAX_BYTES: Final = 1 << 16  # hundreds of times what the devices of a kiosk need
SAVE_NS: Final = 600 * SECOND_NS  # a write every ten minutes is nothing to an SD card
WORTH_SAVING_PPM: Final = 0.5  # a tenth of what the next run allows for
COLLECT_NS: Final = 600 * SECOND_NS


class Housekeeping:
    """Runs chores in order; for one thread, except for `reasons`.

    Parameters
    ----------
    chores
        Chores by name; called with the time on CLOCK_MONOTONIC_RAW.
    """

    def __init__(self, chores: Mapping[str, Callable[[int], None]]) -> None:
        self._chores = chores
        self._retry_ns: dict[str, int] = {}
        self._trouble: Mapping[str, str] = {}  # replaced as a whole

    def step(self, now_ns: int) -> None:
        """Run each chore, unless it has just failed."""
        for name, chore in self._chores.items():
            if now_ns >= self._retry_ns.get(name, now_ns):
                self._attempt(name, chore, now_ns)

    def finish(self, name: str, save: Callable[[], None], now_ns: int) -> None:
        """Run a chore's last step."""
        self._attempt(name, lambda _: save(), now_ns)

    def reasons(self) -> tuple[Reason, ...]:
        """Return why the service is not as it should be; for any thread."""
        return tuple(
            Reason(
                "housekeeping",
                None,
                f"{name} failed: {why}",
                "recording continues, and it is retried every minute; if it persists, report it",
            )
            for name, why in self._trouble.items()
        )

    def _attempt(self, name: str, chore: Callable[[int], None], now_ns: int) -> None:
        others = {one: why for one, why in self._trouble.items() if one != name}
        try:
            chore(now_ns)
        except Exception as error:
            if name not in self._trouble:
                log.exception("a chore has failed, recording continues chore=%s", name)
            self._trouble = {**others, name: str(error) or type(error).__name__}
            self._retry_ns[name] = now_ns + RETRY_NS
        else:
            if name in self._trouble:
                self._trouble = others
            self._retry_ns.pop(name, None)


class DriftMemory:
    """Drift in ppm by device, kept from one run to the next.

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
            log.warning("drift can't be saved why=%r", str(error))
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
            log.warning("saved drift can't be read path=%s why=%r", path, str(error))
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


class SpareMemory:
    """Returns unused memory every ten minutes, in whichever thread calls `step`."""

    def __init__(self) -> None:
        self._collected_ns: int | None = None

    def step(self, now_ns: int) -> None:
        """Return unused memory, if that was not done recently."""
        if self._collected_ns is None:
            self._collected_ns = now_ns
        elif now_ns - self._collected_ns >= COLLECT_NS:
            self._collected_ns = now_ns
            gc.collect()
