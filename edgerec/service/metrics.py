"""Converts the status document to Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edgerec.audio import TRACKS
from edgerec.health.verdict import HEALTH_NAMES
from edgerec.wire.messages import StatusDocument


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, with a sample for each set of labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: tuple[tuple[Mapping[str, str], float | None], ...]
    """Labels and values; None: the value is unknown and gives no sample."""


def exposition(status: StatusDocument) -> str:
    """Return a status document in Prometheus' text format, version 0.0.4."""
    lines = []
    for family in (*_service(status), *_tracks(status), *_storage(status)):
        samples = [(labels, value) for labels, value in family.samples if value is not None]
        if samples:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{family.name}{_labels(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _service(status: StatusDocument) -> Iterator[Family]:
    labels = {"version": str(status["version"]), "kiosk": str(status["kiosk"])}
    yield _gauge("edgerec_info", "Which edgerec runs here.", (labels, 1))
    states = [({"state": name}, int(status["state"] == name)) for name in HEALTH_NAMES]
    yield _gauge("edgerec_state", "1 for the state that the service is in.", *states)
    problems: dict[tuple[str, str], int] = {}
    for reason in status["reasons"]:
        key = (reason["code"], reason["track"] or "")
        problems[key] = problems.get(key, 0) + 1
    yield _gauge(
        "edgerec_problems",
        "What is wrong, by code and track.",
        *(({"code": code, "track": track}, count) for (code, track), count in problems.items()),
    )
    yield _gauge("edgerec_recording", "1 while a session is recorded.", _bare(status["recording"]))
    yield _gauge("edgerec_uptime_seconds", "Since the start.", _bare(status["uptime_seconds"]))
    yield _gauge(
        "edgerec_clock_trusted", "1 if the wall clock is set.", _bare(status["clock"]["trusted"])
    )
    memory = status["memory"]
    yield _gauge("edgerec_memory_pss_bytes", "Of all its processes.", _bare(memory["pss_bytes"]))
    yield _gauge("edgerec_memory_rss_bytes", "Of all its processes.", _bare(memory["rss_bytes"]))
    yield Family(
        "edgerec_cpu_seconds_total",
        "counter",
        "CPU time of all its processes.",
        (_bare(status["cpu_seconds"]),),
    )
    yield _gauge("edgerec_processes", "The service and what it runs.", _bare(status["processes"]))


def _tracks(status: StatusDocument) -> Iterator[Family]:
    tracks: dict[str, StatusDocument] = {
        n: status["tracks"][n] for n in TRACKS if status["tracks"][n]["state"] != "off"
    }
    rate = status["sample_rate"]

    def each(field: str, factor: float = 1.0) -> list[tuple[dict[str, str], float | None]]:
        return [({"track": n}, _scaled(track[field], factor)) for n, track in tracks.items()]

    up = [({"track": n}, int(t["state"] in ("running", "idle"))) for n, t in tracks.items()]
    yield _gauge("edgerec_track_up", "1 while the track's source is as it should be.", *up)
    yield _gauge("edgerec_track_state_seconds", "Since its state changed.", *each("for_seconds"))
    yield _gauge("edgerec_track_drift_ppm", "Rate error of the device.", *each("drift_ppm"))
    yield _gauge(
        "edgerec_track_residual_seconds",
        "Bound on the placement error.",
        *each("residual_us", 1e-6),
    )
    yield _gauge(
        "edgerec_track_echo_delay_seconds",
        "How late the microphone hears the bot.",
        *each("echo_delay_ms", 1e-3),
    )
    yield _gauge(
        "edgerec_track_echo_return_db",
        "The bot's echo in the microphone against the bot's track.",
        *each("echo_return_db"),
    )
    yield _gauge("edgerec_track_peak_dbfs", "Peak of the last second.", *each("peak_dbfs"))
    yield _gauge("edgerec_track_rms_dbfs", "Loudness of the last second.", *each("rms_dbfs"))
    yield Family(
        "edgerec_track_restarts_total",
        "counter",
        "Times that the track's device was reopened.",
        tuple(each("restarts")),
    )
    if rate:
        yield from _losses(tracks, rate)


def _losses(tracks: Mapping[str, StatusDocument], rate: int) -> Iterator[Family]:
    gaps = [
        ({"track": name, "reason": reason}, gap)
        for name, track in tracks.items()
        for reason, gap in track["gaps"].items()
    ]
    yield Family(
        "edgerec_track_gaps_total",
        "counter",
        "Gaps of the session, by reason.",
        tuple((labels, gap["count"]) for labels, gap in gaps),
    )
    yield Family(
        "edgerec_track_gap_seconds_total",
        "counter",
        "Seconds of the session that are gaps.",
        tuple((labels, gap["frames"] / rate) for labels, gap in gaps),
    )
    late = [({"track": n}, t["late_frames"] / rate) for n, t in tracks.items()]
    yield Family(
        "edgerec_track_late_seconds_total",
        "counter",
        "Seconds that came too late to be recorded.",
        tuple(late),
    )


def _storage(status: StatusDocument) -> Iterator[Family]:
    storage, last, rate = status["storage"], status["last_published"], status["sample_rate"]
    for field in ("free", "stored", "unacknowledged"):
        value = storage[f"{field}_bytes"]
        yield _gauge(f"edgerec_storage_{field}_bytes", "Of the storage root.", _bare(value))
    yield _gauge(
        "edgerec_storage_left_seconds",
        "Of recording, until unfetched files are in the way.",
        _bare(_scaled(storage["hours_left"], 3600.0)),
    )
    yield _gauge(
        "edgerec_disk_failing", "1: nothing can be written.", _bare(bool(storage["trouble"]))
    )
    yield _gauge("edgerec_unpublished_chunks", "That wait.", _bare(storage["unpublished"]))
    yield _gauge(
        "edgerec_writer_lag_seconds",
        "Of captured audio that is not durable.",
        _bare(storage["writer_lag_seconds"]),
    )
    yield _gauge(
        "edgerec_captured_age_seconds",
        "Since the newest audio was captured.",
        _bare(storage["captured_age_seconds"]),
    )
    yield _gauge(
        "edgerec_durable_age_seconds",
        "Since the oldest audio was captured that is not durable.",
        _bare(storage["durable_age_seconds"]),
    )
    if rate:
        yield Family(
            "edgerec_lost_seconds_total",
            "counter",
            "Of the session, that the disk did not take, as soon as it is certain.",
            (_bare(storage["lost_frames"] / rate),),
        )
    ago = None if last is None else last["ago_seconds"]
    yield _gauge("edgerec_last_published_age_seconds", "Of the newest file.", _bare(ago))


def _gauge(name: str, told: str, *samples: tuple[Mapping[str, str], float | None]) -> Family:
    return Family(name, "gauge", told, samples)


def _bare(value: float | None) -> tuple[Mapping[str, str], float | None]:
    return {}, None if value is None else float(value)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
