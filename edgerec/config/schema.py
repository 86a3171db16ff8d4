"""The settings: their types, ranges and defaults.

They are defined only here: `build` checks a file against these annotations, and
`config/edgerec.yaml` explains them to operators.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from edgerec.audio import TrackName
from edgerec.validation.constraints import (
    AbsolutePath,
    Between,
    ChannelChoice,
    CommandLine,
    EnvironmentVariables,
    Matches,
    OwnFolder,
)
from edgerec.wire.blocks import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_BYTES

BLOCK_MARGIN_MS: Final = 50  # a slightly busy machine must not count as a loss
SOCKET_PATH_BYTES: Final = 107  # sun_path of sockaddr_un without its closing NUL

_KIOSK_CHARACTERS: Final = "A-Za-z0-9._-"
_KIOSK_LENGTH: Final = 64

_KioskId = Annotated[
    str,
    Matches(
        f"[{_KIOSK_CHARACTERS}]{{1,{_KIOSK_LENGTH}}}",
        f"of 1 to {_KIOSK_LENGTH} letters, digits, dots, underscores or hyphens",
    ),
]
_Group = Annotated[str, Matches(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", "that names a group")]
_Device = Annotated[
    str, Matches(r"[^\0\n]+", "that is a device's name, a part of it, or its stable id")
]
_Variables = Annotated[Mapping[str, str], EnvironmentVariables()]
_FileHook = Annotated[tuple[str, ...], CommandLine(("path", "sidecar", "kind"))]
_StateHook = Annotated[tuple[str, ...], CommandLine(("state",))]
_DeviceRate = Annotated[int, Between(MIN_RATE_HZ, MAX_RATE_HZ, "Hz")]
_Bytes = Annotated[int, Between(0, 10**15, "bytes")]


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """Settings of the recording: what is written, and where it is cut."""

    # Below 8 kHz speech can't be understood; above 192 kHz nobody hears more of it.
    sample_rate: Annotated[int, Between(8_000, 192_000, "Hz")] | None = 16_000
    """Sampling rate of the recording in Hz; None: the user device's own rate."""
    num_channels: Literal[1, 2] = 2
    """Number of channels. 1: user and bot mixed; 2: user left, bot right."""
    buffer_size: _Bytes = 0
    """Length of a chunk in bytes of one 16-bit track; 0: only a stop ends it."""
    chunk_seconds: Annotated[float, Between(0.1, 86_400, "s")] | None = None
    align_to_clock: bool = False
    separate_tracks: bool = False
    format: Literal["wav", "flac", "opus"] = "wav"
    user_continuous_stream: bool = True
    enable_turn_audio: bool = False
    auto_start: bool = True
    max_file_seconds: Annotated[float, Between(1, 86_400, "s")] = 3_600
    late_seconds: Annotated[float, Between(0.05, 10, "s")] = 0.8

    def chunk_frames(self, sample_rate: int) -> int | None:
        """Return the length of a full chunk at the recording's actual rate; None: unlimited."""
        if self.buffer_size:
            return self.buffer_size // SAMPLE_BYTES
        if self.chunk_seconds is not None:
            return round(self.chunk_seconds * sample_rate)
        return None

    def max_file_frames(self, sample_rate: int) -> int:
        """Return the maximum length of any chunk, at the recording's actual rate."""
        return round(self.max_file_seconds * sample_rate)


@dataclass(frozen=True, slots=True)
class SimulateConfig:
    """The faults of a simulated device; all of them off by default."""

    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    drift_ppm: Annotated[float, Between(-1_000, 1_000, "ppm")] = 0
    jitter_ms: Annotated[float, Between(0, 1_000, "ms")] = 0
    loss_per_hour: Annotated[float, Between(0, 3_600, "per hour")] = 0
    stall_per_hour: Annotated[float, Between(0, 3_600, "per hour")] = 0


@dataclass(frozen=True, slots=True)
class TrackConfig:
    """Settings of one track's source."""

    source: Literal["portaudio", "feed", "simulated", "none"] = "portaudio"
    device: _Device | None = None
    """Name of the device, part of one, or its stable id; None: the default input."""
    channels: Annotated[int | tuple[int, ...], ChannelChoice(MAX_CHANNELS)] = 1
    """Number of channels to open, or the channels to record, from 1; mixed to one."""
    sample_rate: _DeviceRate | None = None
    """Sampling rate to open the device with, in Hz; None: the device's own."""
    # Under 5 ms the wake-ups cost more than the audio; 2 s is what a track may come late anyway.
    block_ms: Annotated[float, Between(5, 2_000, "ms")] | None = None
    offset_ms: Annotated[float, Between(-2_000, 2_000, "ms")] = 0
    """Constant latency of the device: the track is placed this much earlier."""
    offset_source: Literal["configured", "chirp"] = "configured"
    """Origin of `offset_ms`, for sidecars; chirp: `edgerec doctor --chirp` has measured it."""
    env: _Variables = field(default_factory=dict)
    """Variables added to the environment of the track's capture child."""
    simulate: SimulateConfig = SimulateConfig()

    @property
    def sent_channels(self) -> int:
        """Maximum number of channels that come from the device."""
        return self.channels if isinstance(self.channels, int) else len(self.channels)


@dataclass(frozen=True, slots=True)
class TracksConfig:
    """The two tracks."""

    user: TrackConfig = TrackConfig()
    bot: TrackConfig = TrackConfig(channels=2)  # a loudspeaker's loopback is stereo as a rule

    @property
    def used(self) -> dict[TrackName, TrackConfig]:
        """The tracks that have a source."""
        tracks: dict[TrackName, TrackConfig] = {"user": self.user, "bot": self.bot}
        return {name: track for name, track in tracks.items() if track.source != "none"}


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """The speech detector of each track."""

    user: Literal["auto", "level", "earshot", "silero"] = "auto"
    """The user's detector. silero needs `edgerec[vad]`; auto: silero if there, else earshot."""
    bot: Literal["auto", "level"] = "auto"


@dataclass(frozen=True, slots=True)
class TurnsConfig:
    """Settings of speaking turns."""

    pre_roll_s: Annotated[float, Between(0, 10, "s")] = 1.0
    hangover_s: Annotated[float, Between(0.05, 10, "s")] = 0.8
    min_speech_s: Annotated[float, Between(0.02, 5, "s")] = 0.2
    max_turn_s: Annotated[float, Between(5, 3_600, "s")] = 120
    detector: DetectorConfig = DetectorConfig()


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Settings of the storage root, and of how soon files are durable."""

    root: Annotated[Path, OwnFolder()] = Path("/var/lib/edgerec")
    require_mount: bool = False
    """Whether to refuse a root that is on the file system of `/`."""
    # Two minutes at 48 kHz are 35 MB of ring; a disk that stalls for longer is broken.
    stall_seconds: Annotated[float, Between(1, 120, "s")] = 30
    sync_seconds: Annotated[float, Between(0.1, 60, "s")] = 1.0
    utc_wait_s: Annotated[float, Between(0, 86_400, "s")] = 300
    trust_rtc: bool = False
    """Whether the wall clock is right from boot on, thanks to a battery-backed clock."""


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """Settings of retention: the published files that may be deleted, and when."""

    max_age_days: Annotated[float, Between(0.01, 36_500, "days")] | None = None
    max_bytes: _Bytes | None = None
    min_free_bytes: _Bytes = 500_000_000
    keep_unacknowledged: bool = True


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """The socket that commands talk to."""

    socket: Annotated[Path, AbsolutePath(SOCKET_PATH_BYTES)] | None = None
    """Path of the socket; None: the user's default, see `service.control.socket`."""
    group: _Group | None = None
    """Group whose members may connect; None: the service's own."""


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """Numbers for monitoring."""

    textfile: Annotated[Path, AbsolutePath(ending=".prom")] | None = None
    """Path of the textfile, which must end in `.prom` for node_exporter; None: no metrics."""


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """Programs run on events, without a shell; empty: none."""

    on_chunk: _FileHook = ()
    on_turn: _FileHook = ()
    on_state: _StateHook = ()


@dataclass(frozen=True, slots=True)
class Config:
    """All settings; `Config()` has the built-in defaults."""

    kiosk_id: _KioskId | None = None
    recording: RecordingConfig = RecordingConfig()
    tracks: TracksConfig = TracksConfig()
    turns: TurnsConfig = TurnsConfig()
    storage: StorageConfig = StorageConfig()
    retention: RetentionConfig = RetentionConfig()
    control: ControlConfig = ControlConfig()
    metrics: MetricsConfig = MetricsConfig()
    hooks: HooksConfig = HooksConfig()

    @property
    def kiosk(self) -> str:
        """The kiosk's name in folders and sidecars: `kiosk_id`, else what fits of the host name.

        Computed on use, not on load: a kiosk may be named after its first start.
        """
        if self.kiosk_id is not None:
            return self.kiosk_id
        name = re.sub(f"[^{_KIOSK_CHARACTERS}]", "-", socket.gethostname())
        return name[:_KIOSK_LENGTH] or "kiosk"
