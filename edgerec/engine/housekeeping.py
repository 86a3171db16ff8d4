"""Chores of the writer thread, such as saving drift; one that fails does not stop the others."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from edgerec.clock import SECOND_NS
from edgerec.health.status import Reason
from edgerec.store import disk
from edgerec.store.disk import StoreError
from edgerec.sync.device_clock import MAX_DRIFT_PPM
from edgerec.validation.bounded_json import JsonError, read_json
from edgerec.validation.constraints import Between
from edgerec.validation.typed import from_plain

log = logging.getLogger(__name__)

RETRY_NS: Final = 60 * SECOND_NS
FILE: Final = "drift.json"
MAX_BYTES: Final = 1 << 16  # hundreds of times what the devices of a kiosk need
SAVE_NS: Final = 600 * SECOND_NS  # a write every ten minutes is nothing to an SD card
WORTH_SAVING_PPM: Final = 0.5  # a tenth of what the next run allows for
COLLECT_NS: Final = 600 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done again and again."""

    name: str
    do: Callable[[int], object]
    """Called with the time on CLOCK_MONOTONIC_RAW."""
    every_ns: int = 0
    """Time from one step to the next, and from the start to the first; 0: at every look."""
    last: Callable[[], object] | None = None
    """Called once nothing more is recorded."""


SPARE_MEMORY: Final = Chore("giving memory back", lambda now_ns: gc.collect(), COLLECT_NS)
"""Returns what no reference count ever frees."""


class Housekeeping:
    """Does chores in order, each when it is due; for one thread, except for `reasons`."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        self._due_ns: dict[str, int] = {}
        self._trouble: Mapping[str, str] = {}  # replaced as a whole

    def step(self, now_ns: int) -> None:
        """Do the chores that are due, or have failed a minute ago."""
        for chore in self._chores:
            if now_ns >= self._due_ns.setdefault(chore.name, now_ns + chore.every_ns):
                worked = self._attempt(chore.name, partial(chore.do, now_ns))
                self._due_ns[chore.name] = now_ns + (chore.every_ns if worked else RETRY_NS)

    def finish(self) -> None:
        """Do the last step of each chore."""
        for chore in self._chores:
            if chore.last is not None:
                self._attempt(chore.name, chore.last)

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

    def _attempt(self, name: str, do: Callable[[], object]) -> bool:
        others = {one: why for one, why in self._trouble.items() if one != name}
        try:
            do()
        except Exception as error:
            if name not in self._trouble:
                log.exception("a chore has failed, recording continues chore=%s", name)
            self._trouble = {**others, name: str(error) or type(error).__name__}
            return False
        self._trouble = others
        return True


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


@dataclass(frozen=True, slots=True)
class _File:
    drift_ppm: Mapping[str, Annotated[float, Between(-MAX_DRIFT_PPM, MAX_DRIFT_PPM, "ppm")]]


def _parse(fields: object) -> dict[str, float]:
    return dict(from_plain(_File, {"drift_ppm": fields}).drift_ppm)
