"""Converts the status to Prometheus' text format, and keeps a node_exporter textfile of it.

The file is replaced as a whole, so that a scrape never sees half of it. It is removed when the
service ends; one left by a crash is recognised by its age (``node_textfile_mtime_seconds``).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from edgerec.health.status import HEALTH_NAMES, Status, TrackStatus
from edgerec.session.threads import ThreadMaker

log = logging.getLogger(__name__)

PERIOD_S: Final = 15.0  # Prometheus asks every 15 to 60 s
FILE_MODE: Final = 0o644  # node_exporter is another user, and levels are no secret

LabelledValue = tuple[Mapping[str, str], float | None]
"""Labels and a value; None: it is unknown, and gives no sample."""
Metric = tuple[str, str, float | Sequence[LabelledValue] | None]
"""A name without `edgerec_`, a help text, and one value without labels or samples."""


def exposition(status: Status) -> str:
    """Return a status in Prometheus' text format, version 0.0.4."""
    lines = []
    for name, told, found in (*_service(status), *_tracks(status), *_storage(status)):
        all_samples = found if isinstance(found, Sequence) else [({}, _float(found))]
        samples = [(labels, value) for labels, value in all_samples if value is not None]
        if samples:
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP edgerec_{name} {told}", f"# TYPE edgerec_{name} {kind}"]
            lines += [f"edgerec_{name}{_labels(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


class MetricsFile:
    """Keeps a textfile up to date in a thread of its own; a context manager that removes it.

    A disk that hangs blocks only this thread.

    Parameters
    ----------
    path
        Must end in `.prom` for node_exporter to read it; its folder must exist.
    status
        Returns the status; for any thread.
    """

    def __init__(
        self,
        path: Path,
        status: Callable[[], Status],
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._path = path
        self._status = status
        self._failing = False
        self._closing = threading.Event()
        self._thread = make_thread(target=self._run, name="metrics")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and leave no numbers of a service that has ended."""
        self._closing.set()
        self._thread.join(PERIOD_S)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self._path

    def write(self) -> None:
        """Replace the file; where that fails it is logged, once until it works again."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        try:
            fd = os.open(
                fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(fd, "w") as file:
                os.fchmod(fd, FILE_MODE)  # whatever the umask
                file.write(exposition(self._status()))
            fresh.replace(self._path)
        except OSError as problem:
            if not self._failing:
                log.error("metrics can't be written path=%s why=%r", self._path, str(problem))  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False

    def _run(self) -> None:
        while True:
            self.write()
            if self._closing.wait(PERIOD_S):
                break
        for left in (self._path, self._path.with_name(f".{self._path.name}.new")):
            try:
                left.unlink(missing_ok=True)
            except OSError as problem:
                log.warning("old metrics can't be removed path=%s why=%r", left, str(problem))


class ConfiguredMetrics:
    """The textfile that is configured at present, if any; a context manager that ends it."""

    def __init__(
        self, status: Callable[[], Status], *, make_thread: ThreadMaker = threading.Thread
    ) -> None:
        self._status = status
        self._make_thread = make_thread
        self._file: MetricsFile | None = None

    def follow(self, path: Path | None) -> None:
        """Write to this file from now on, and to no other; None: to none."""
        if path == (None if self._file is None else self._file.path):
            return
        self.__exit__(None, None, None)
        if path is not None:
            self._file = MetricsFile(path, self._status, make_thread=self._make_thread).__enter__()

    def __enter__(self) -> Self:
        """Return it; it writes nothing yet."""
        return self

    def __exit__(self, *details: Any) -> None:
        if self._file is not None:
            self._file.__exit__(*details)
            self._file = None


def _service(s: Status) -> Iterator[Metric]:
    info = [({"version": s.version, "kiosk": s.kiosk}, 1)]
    states = [({"state": name}, int(s.state == name)) for name in HEALTH_NAMES]
    counts = Counter((reason.code, reason.track or "") for reason in s.reasons)
    problems = [({"code": code, "track": track}, n) for (code, track), n in counts.items()]
    yield "info", "Which edgerec runs here.", info
    yield "state", "1 for the state that the service is in.", states
    yield "problems", "What is wrong, by code and track.", problems
    yield "recording", "1 while a session is recorded.", s.recording
    yield "uptime_seconds", "Since the start.", s.uptime_seconds
    yield "clock_trusted", "1 if the wall clock is set.", s.clock.trusted
    yield "memory_pss_bytes", "Of all its processes.", s.memory.pss_bytes
    yield "memory_rss_bytes", "Of all its processes.", s.memory.rss_bytes
    yield "cpu_seconds_total", "CPU time of all its processes.", s.cpu_seconds
    yield "processes", "The service and what it runs.", s.processes


def _tracks(s: Status) -> Iterator[Metric]:
    tracks = [({"track": name}, track) for name, track in s.tracks.items() if track.state != "off"]

    def each(
        read: Callable[[TrackStatus], float | None], factor: float = 1.0
    ) -> list[LabelledValue]:
        return [(labels, _float(read(track), factor)) for labels, track in tracks]

    up = [(labels, int(track.state in ("running", "idle"))) for labels, track in tracks]
    yield "track_up", "1 while the track's source is as it should be.", up
    yield "track_state_seconds", "Since its state changed.", each(lambda t: t.for_seconds)
    yield "track_drift_ppm", "Rate error of the device.", each(lambda t: t.drift_ppm)
    residual = each(lambda t: t.residual_us, 1e-6)
    yield "track_residual_seconds", "Bound on the placement error.", residual
    delay = each(lambda t: t.echo_delay_ms, 1e-3)
    yield "track_echo_delay_seconds", "How late the microphone hears the bot.", delay
    told = "The bot's echo in the microphone against the bot's track."
    yield "track_echo_return_db", told, each(lambda t: t.echo_return_db)
    yield "track_peak_dbfs", "Peak of the last second.", each(lambda t: t.peak_dbfs)
    yield "track_rms_dbfs", "Loudness of the last second.", each(lambda t: t.rms_dbfs)
    restarts = each(lambda t: t.restarts)
    yield "track_restarts_total", "Times that the track's device was reopened.", restarts
    if rate := s.sample_rate:
        gaps = [
            ({**labels, "reason": reason}, gap)
            for labels, track in tracks
            for reason, gap in track.gaps.items()
        ]
        counts = [(labels, gap.count) for labels, gap in gaps]
        yield "track_gaps_total", "Gaps of the session, by reason.", counts
        seconds = [(labels, gap.frames / rate) for labels, gap in gaps]
        yield "track_gap_seconds_total", "Seconds of the session that are gaps.", seconds
        told = "Seconds that came too late to be recorded."
        yield "track_late_seconds_total", told, each(lambda t: t.late_frames / rate)


def _storage(s: Status) -> Iterator[Metric]:
    disk, last = s.storage, s.last_published
    yield "storage_free_bytes", "Of the storage root.", disk.free_bytes
    yield "storage_stored_bytes", "Of the storage root.", disk.stored_bytes
    yield "storage_unacknowledged_bytes", "Of the storage root.", disk.unacknowledged_bytes
    told = "Of recording, until unfetched files are in the way."
    yield "storage_left_seconds", told, _float(disk.hours_left, 3600.0)
    yield "disk_failing", "1: nothing can be written.", bool(disk.trouble)
    yield "unpublished_chunks", "That wait.", disk.unpublished
    told = "Of captured audio that is not durable."
    yield "writer_lag_seconds", told, disk.writer_lag_seconds
    told = "Since the newest audio was captured."
    yield "captured_age_seconds", told, disk.captured_age_seconds
    told = "Since the oldest audio was captured that is not durable."
    yield "durable_age_seconds", told, disk.durable_age_seconds
    if s.sample_rate:
        told = "Of the session, that the disk did not take, as soon as it is certain."
        yield "lost_seconds_total", told, disk.lost_frames / s.sample_rate
    ago = None if last is None else last.ago_seconds
    yield "last_published_age_seconds", "Of the newest file.", ago


def _float(value: float | None, factor: float = 1.0) -> float | None:
    return None if value is None else float(value) * factor


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
