"""The service's status: one value for metrics, the control socket, the API and the commands.

`docs/contract.md` describes it as JSON, which has the same fields in the same order.
`snapshot.status_of` makes it. Each field has a default: what a service of another version does not
report is unknown, or zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from edgerec.audio import Played, TrackName
from edgerec.validation.constraints import Between

SCHEMA: Final = "edgerec-status/1"

HealthName = Literal["ok", "degraded", "failed"]
HEALTH_NAMES: Final[tuple[HealthName, ...]] = get_args(HealthName)
Measured = Annotated[float, Between(-10_000.0, 10_000.0)]
"""Milliseconds or decibels of the echo."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why the service is not ok."""

    code: str
    """Code of the reason, for programs."""
    track: TrackName | None
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class GapsSoFar:
    """The gaps of a track in this session, for one reason."""

    count: int
    frames: int


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """One track; one that is off has nothing else to say."""

    state: str = "off"
    """A `SourceStateName`, or `off`."""
    since: str = ""
    """Time in UTC since when it has been in this state, as the wall clock has it now."""
    for_seconds: float = 0.0
    detail: str = ""
    device: str | None = None
    drift_ppm: float | None = None
    residual_us: float | None = None
    echo_delay_ms: float | None = None
    echo_return_db: float | None = None
    peak_dbfs: float | None = None
    rms_dbfs: float | None = None
    clipped: int = 0
    gaps: Mapping[str, GapsSoFar] = field(default_factory=dict)
    xruns: int = 0
    late_frames: int = 0
    refused_frames: int = 0
    fed: Played | None = None
    """What has become of all that applications have pushed; None: it is not a feed."""
    restarts: int = 0
    turn: int | None = None
    """Number of the turn that the speaker has now."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Low, median and high of one day's values."""

    low: Measured
    median: Measured
    high: Measured


@dataclass(frozen=True, slots=True)
class EchoDay:
    """The echo of one day."""

    date: str | None
    """Date in UTC; None: the wall clock could not be trusted that day."""
    count: int
    delay_ms: Spread
    level_db: Spread


@dataclass(frozen=True, slots=True)
class Chirp:
    """One measurement of `edgerec doctor --chirp`; None: not heard."""

    utc: str
    """Time of the measurement, such as `2026-11-22T10:15:00Z`."""
    utc_trusted: bool
    delay_ms: float | None
    """Delay between the devices, as if no `offset_ms` were set."""
    user_dbfs: float | None
    """Level of the sweeps in the microphone's track."""
    bot_dbfs: float | None


@dataclass(frozen=True, slots=True)
class EchoStatus:
    """The echo over weeks, as the devices have it: delays without `offset_ms`."""

    delay_ms: float | None = None
    level_db: float | None = None
    usual_delay_ms: float | None = None
    usual_level_db: float | None = None
    kept_days: int = 0
    days: tuple[EchoDay, ...] = ()
    """The last days, today last."""
    chirp: Chirp | None = None
    trouble: str | None = None
    """Reason why the history was started again; None: it was not."""


@dataclass(frozen=True, slots=True)
class LeftoverFile:
    """A leftover of a crash that can't be published yet."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Leftovers of crashes."""

    waiting: int = 0
    files: tuple[LeftoverFile, ...] = ()
    """The first of those that wait."""
    quarantined: tuple[str, ...] = ()
    """The latest names in `quarantine/`."""


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The disk, and the audio that is not on it yet."""

    free_bytes: int | None = None
    stored_bytes: int | None = None
    unacknowledged_bytes: int | None = None
    hours_left: float | None = None
    unpublished: int = 0
    unpublishable: str | None = None
    leftovers: Leftovers = Leftovers()
    writer_lag_seconds: float = 0.0
    captured_age_seconds: float | None = None
    durable_age_seconds: float | None = None
    lost_frames: int = 0
    trouble: str | None = None
    """Why audio does not reach the disk; None: it does."""
    trouble_for_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LastFile:
    """The file that was published last."""

    file: str
    kind: str
    ago_seconds: float


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """The wall clock."""

    utc: str = ""
    trusted: bool = False
    error_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Memory of the service and its capture children; None where the kernel does not report it."""

    pss_bytes: int | None = None
    rss_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class HookCounts:
    """Counts of hook runs so far, by outcome."""

    succeeded: int = 0
    failed: int = 0
    """Number of runs that ended with a nonzero exit status, took too long, or could not begin."""
    dropped: int = 0
    """Number of runs that never began, or were not repeated, for lack of room or time."""
    waiting: int = 0
    running: int = 0
    trouble: str | None = None
    """Hooks that failed at their last run, and why; None: none."""


@dataclass(frozen=True, slots=True)
class TapCounts:
    """Taps that are open, and blocks that none of them got."""

    open: int = 0
    lost_blocks: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """How the service is.

    Words such as `state` and `activity` are any strings: a later version may have more of them.
    """

    schema: str = SCHEMA
    version: str = ""
    kiosk: str = ""
    state: str = ""
    """A `HealthName`."""
    reasons: tuple[Reason, ...] = ()
    activity: str = ""
    """A `RecorderState`."""
    recording: bool = False
    session_seconds: float | None = None
    sample_rate: int | None = None
    uptime_seconds: float = 0.0
    tracks: Mapping[TrackName, TrackStatus] = field(default_factory=dict)
    echo: EchoStatus = EchoStatus()
    storage: StorageStatus = StorageStatus()
    last_published: LastFile | None = None
    clock: ClockStatus = ClockStatus()
    memory: MemoryStatus = MemoryStatus()
    cpu_seconds: float = 0.0
    processes: int = 0
    hooks: HookCounts = HookCounts()
    taps: TapCounts = TapCounts()


def to_json(status: Status) -> dict[str, object]:
    """Return the status as JSON values; `validation.typed.from_plain` reads it back."""
    document: dict[str, Any] = asdict(status, dict_factory=_object)
    for name, track in status.tracks.items():
        if track.state == "off":
            document["tracks"][name] = {"state": "off"}
    return document


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields}
