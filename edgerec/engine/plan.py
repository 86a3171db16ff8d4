"""The plan of an engine, computed once from the configuration; a reload computes a second one.

A plan holds no thread, file or device. Where the timeline's rate is needed, which may be known only
once the devices have reported theirs, a method takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import TRACKS, StreamHeader, TrackName
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS, SERVER_BLOCK_MS
from edgerec.config import Config, RetentionConfig, TrackConfig, TurnsConfig
from edgerec.config.schema import BLOCK_MARGIN_MS
from edgerec.engine.retrying import LAST_RETRY_S
from edgerec.session.timeline import USUAL_LAG_S, SessionTimeline
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Format
from edgerec.store.retention.plan import Quota
from edgerec.store.writing.recording import RecordingForm
from edgerec.store.writing.rotation import Cutting
from edgerec.sync.synchronizer import TrackPlan
from edgerec.turns.segmenter import TurnRules
from edgerec.wire.blocks import SAMPLE_BYTES
from edgerec.wire.pipe import PIPE_BYTES

MAX_RECORDING_RATE_HZ: Final = 192_000
FALLBACK_RATE_HZ: Final = 48_000  # `sample_rate: null`, and no device has reported its rate
PACE_MS: Final = 900
"""Time between polls of stamped sources while nobody listens live. A poll costs three times its
work, because the code has left the CPU's caches by then, and only the file waits for it."""
TURNS_PACE_MS: Final = 200
"""The same where turns are found, because programs wait for their events."""
NOTICED_S: Final = 2.0  # by then a turn's beginning is on its way to the disk
LATE_S: Final = 5.0  # patience with a detector that loads, or waits for the CPU

_DAY_NS: Final = 86_400 * 1_000_000_000
_PUBLISHED_SHARE: Final[Mapping[Format, float]] = {"wav": 1.0, "flac": 0.45, "opus": 0.12}
"""Size relative to the samples' bytes, roughly, for speech; for the forecast."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What a track's source is opened with; one whose plan changes is opened again."""

    settings: TrackConfig
    """The track's settings, without its offset: that moves the track, whatever its source."""
    block_ms: float | None
    """Length of the device's blocks; None: as suits the device."""
    patient: bool
    """Whether the device's output may be left in its pipe from one poll to the next."""

    @property
    def is_feed(self) -> bool:
        """Whether applications push the track; otherwise a capture child reads a device."""
        return self.settings.source == "feed"


@dataclass(frozen=True, slots=True)
class TurnsPlan:
    """What speaking turns are, and what is done with them."""

    settings: TurnsConfig
    written: bool
    """Whether they are written to files."""
    speech_only: bool
    """Whether the user track is always live, and only its speech is recorded."""

    @property
    def wanted(self) -> bool:
        """Whether turns are looked for at all."""
        return self.written or self.speech_only

    @property
    def patience_s(self) -> float:
        """How long speech may stay undecided before everything is recorded."""
        return self._noticed_s + LATE_S

    @property
    def history_s(self) -> float:
        """How much more history turns need: they begin before they are noticed."""
        if self.speech_only:
            return self.patience_s
        return self._noticed_s + NOTICED_S if self.written else 0.0

    @property
    def _noticed_s(self) -> float:
        settings = self.settings
        return settings.pre_roll_s + settings.hangover_s + 2 * settings.min_speech_s

    def rules(self, rate: int) -> TurnRules:
        """Return what makes a turn on a timeline of this rate."""
        settings = self.settings
        return TurnRules(
            pre_roll=round(settings.pre_roll_s * rate),
            hangover=round(settings.hangover_s * rate),
            min_speech=round(settings.min_speech_s * rate),
            max_turn=round(settings.max_turn_s * rate),
        )


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What holds for a session from its first frame on; where it changes, another one begins."""

    kiosk_id: str | None
    sample_rate: int | None
    """Rate of the timeline in Hz; None: that of a device."""
    separate_tracks: bool
    turns: TurnsConfig
    history_s: float
    """Length of the history: the longest disk stall that loses nothing."""
    sync_s: float
    """How often what was written is made durable."""

    def rate(self, headers: Mapping[TrackName, StreamHeader]) -> int:
        """Return the timeline's rate: as configured, else the user device's own, else the bot's."""
        if self.sample_rate is not None:
            return self.sample_rate
        rates = [headers[name].sample_rate for name in TRACKS if name in headers]
        return min(rates[0], MAX_RECORDING_RATE_HZ) if rates else FALLBACK_RATE_HZ


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before anything is built; `Plan.of` computes it."""

    config: Config
    """The configuration that this was computed from, whose settings that need no decision are
    taken from there."""
    sources: Mapping[TrackName, SourcePlan]
    """What the source of each track that has one is opened with."""
    tracks: Mapping[TrackName, TrackPlan]
    """Where each of those tracks is placed, and whether its source delivers all the time."""
    late_s: float
    """How long to wait for a quiet track; a late device is late with everything."""
    pace_ms: int
    """Time between polls of stamped sources while nobody listens live."""
    turns: TurnsPlan
    session: SessionPlan
    usual_lag_s: float
    """How much captured audio may not be durable while all is well."""
    quota: Quota
    """How much may be kept, with room for the chunk that is being written."""
    bytes_per_s: float
    """How much recording writes, roughly; for the forecast."""

    @classmethod
    def of(cls, config: Config) -> Plan:
        """Return the plan of a configuration, which is valid."""
        recording, storage, configured = config.recording, config.storage, config.tracks.used
        turns = _turns(config)
        history_s = storage.stall_seconds + LAST_RETRY_S + storage.sync_seconds + turns.history_s
        undecided_s = turns.patience_s if turns.speech_only else 0.0
        rate, frame_bytes = recording.sample_rate or FALLBACK_RATE_HZ, _frame_bytes(config)
        longest = recording.max_file_frames(rate)
        chunk_frames = min(recording.chunk_frames(rate) or longest, longest)
        pace_ms = TURNS_PACE_MS if turns.wanted else PACE_MS
        late_ms = recording.late_seconds * 1000
        short_blocks = turns.wanted or late_ms < SERVER_BLOCK_MS + BLOCK_MARGIN_MS
        offsets_ms = [track.offset_ms for track in configured.values()]
        return cls(
            config=config,
            sources={
                name: _source(track, pace_ms, short_blocks=short_blocks)
                for name, track in configured.items()
            },
            tracks={
                name: TrackPlan(offset_ms=track.offset_ms, continuous=track.source != "feed")
                for name, track in configured.items()
            },
            late_s=recording.late_seconds + max(0, *offsets_ms) / 1000,
            pace_ms=pace_ms,
            turns=turns,
            session=SessionPlan(
                config.kiosk_id,
                recording.sample_rate,
                recording.separate_tracks,
                turns=config.turns,
                history_s=history_s,
                sync_s=storage.sync_seconds,
            ),
            usual_lag_s=storage.sync_seconds + undecided_s + USUAL_LAG_S,
            quota=_quota(config.retention, reserve_bytes=chunk_frames * frame_bytes),
            bytes_per_s=rate * frame_bytes * _PUBLISHED_SHARE[recording.format],
        )

    @property
    def continuous(self) -> tuple[TrackName, ...]:
        """The tracks whose source delivers all the time, so that a pause is a gap."""
        return tuple(name for name, track in self.tracks.items() if track.continuous)

    def form(self, rate: int) -> RecordingForm:
        """Return what a session is written as, at the timeline's rate."""
        recording = self.config.recording
        return RecordingForm(
            self._layout(rate),
            Cutting(
                chunk_frames=recording.chunk_frames(rate),
                max_file_frames=recording.max_file_frames(rate),
                align_to_clock=recording.align_to_clock,
            ),
            utc_wait_s=self.config.storage.utc_wait_s,
            turn_audio=self.turns.written,
        )

    def _layout(self, rate: int) -> Layout:
        recording = self.config.recording
        known = {
            name: track
            for name, track in self.config.tracks.used.items()
            # A chirp may have found that it is 0.
            if track.offset_ms or track.offset_source == "chirp"
        }
        return Layout(
            sample_rate=rate,
            num_channels=recording.num_channels,
            separate_tracks=recording.separate_tracks,
            format=recording.format,
            latency_ms={name: track.offset_ms for name, track in known.items()},
            latency_source={name: track.offset_source for name, track in known.items()},
        )


@dataclass(slots=True)
class Current:
    """What is recorded at present, and by which plan; both are replaced as a whole."""

    plan: Plan
    """Replaced when another configuration applies; for any thread."""
    timeline: SessionTimeline | None = None
    """The session that is being recorded, written by the recorder thread; None: none is."""


def _source(track: TrackConfig, pace_ms: int, *, short_blocks: bool) -> SourcePlan:
    block_ms = track.block_ms
    if block_ms is None and track.source == "portaudio" and short_blocks:
        block_ms = DEFAULT_BLOCK_MS
    settings = replace(track, offset_ms=0, offset_source="configured")
    return SourcePlan(settings, block_ms, _can_wait(track, pace_ms))


def _can_wait(track: TrackConfig, pace_ms: int) -> bool:
    if (track.block_ms or DEFAULT_BLOCK_MS) < DEFAULT_BLOCK_MS:
        return False  # shorter blocks are configured to have them soon
    rate = track.sample_rate or MAX_RECORDING_RATE_HZ  # its own may be any
    held_ms = pace_ms + (track.block_ms or SERVER_BLOCK_MS)  # and one block comes as we look
    return rate * track.sent_channels * SAMPLE_BYTES * held_ms / 1000 <= PIPE_BYTES


def _turns(config: Config) -> TurnsPlan:
    recording = config.recording
    is_live = config.tracks.user.source not in ("feed", "none")
    speech_only = is_live and not recording.user_continuous_stream
    return TurnsPlan(config.turns, recording.enable_turn_audio, speech_only)


def _quota(retention: RetentionConfig, *, reserve_bytes: int) -> Quota:
    days = retention.max_age_days
    return Quota(
        max_age_ns=None if days is None else round(days * _DAY_NS),
        max_bytes=retention.max_bytes,
        min_free_bytes=retention.min_free_bytes,
        keep_unacknowledged=retention.keep_unacknowledged,
        reserve_bytes=reserve_bytes,
    )


def _frame_bytes(config: Config) -> int:
    recording = config.recording
    channels = recording.num_channels + (len(TRACKS) if recording.separate_tracks else 0)
    channels += len(TRACKS) if recording.enable_turn_audio else 0  # if nobody is ever silent
    return channels * SAMPLE_BYTES
