"""Builds the recorder's components: the one place that turns settings into parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Final

from edgerec.audio import TRACKS, StreamHeader, TrackName
from edgerec.capture.child import ChildLimits, ChildSource
from edgerec.capture.devices.watch import Watched
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS, SERVER_BLOCK_MS, portaudio_command
from edgerec.clock import Clock
from edgerec.config import Config, TrackConfig
from edgerec.engine.capture_loop import PACE_MS, TURNS_PACE_MS
from edgerec.engine.turn_build import gate_patience_s, turn_history_s
from edgerec.engine.writer_loop import LAST_RETRY_S
from edgerec.feeds.source import FeedSource
from edgerec.session.backlog import USUAL_LAG_S
from edgerec.session.timeline import SessionTimeline
from edgerec.simulation.kiosk import simulate_command
from edgerec.stamps import stamp_now
from edgerec.store.publish import FilePublished
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Format
from edgerec.store.retention.cleanup import Cleanup
from edgerec.store.retention.plan import Quota
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recording import Recording
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.wav import SAMPLE_BYTES
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames
from edgerec.wire.pipe import PIPE_BYTES

MAX_RECORDING_RATE_HZ: Final = 192_000
FALLBACK_RATE_HZ: Final = 48_000  # `sample_rate: null`, and no device has reported its rate
SIMULATED_RATE_HZ: Final = 48_000
SIMULATED_BLOCK_MS: Final = 100.0
SIMULATED_START_NS: Final = 120 * 1_000_000_000
"""Time limit for a simulated device to start: its phrases are computed first, which takes a CPU
second here and 30 times that for two at once on an emulated processor."""

_DAY_NS: Final = 86_400 * 1_000_000_000
_PUBLISHED_SHARE: Final[Mapping[Format, float]] = {"wav": 1.0, "flac": 0.45, "opus": 0.12}
"""Size relative to the samples' bytes, roughly, for speech; for the forecast."""


def track_configs(config: Config) -> dict[TrackName, TrackConfig]:
    """Return the settings of the tracks that have a source."""
    tracks: dict[TrackName, TrackConfig] = {"user": config.tracks.user, "bot": config.tracks.bot}
    return {name: track for name, track in tracks.items() if track.source != "none"}


def delivers_always(config: Config, name: TrackName) -> bool:
    """Tell whether a track's source delivers all the time, so that a pause is a gap."""
    return track_configs(config)[name].source != "feed"


def continuous_tracks(config: Config) -> tuple[TrackName, ...]:
    """Return the tracks whose source delivers all the time."""
    return tuple(name for name in track_configs(config) if delivers_always(config, name))


def build_children(config: Config, now_ns: int) -> dict[TrackName, ChildSource]:
    """Return a capture child for every track that has a device; they start when first asked."""
    return {
        name: build_child(config, name, now_ns)
        for name, track in track_configs(config).items()
        if track.source != "feed"
    }


def build_child(config: Config, name: TrackName, now_ns: int) -> ChildSource:
    """Return the capture child of one track, which has a device."""
    track = track_configs(config)[name]
    return ChildSource(
        name,
        capture_command(config, name, now_ns),
        track.env,
        now_ns=now_ns,
        patient=_can_wait(track, pace_ms(config)),
        limits=ChildLimits(start_ns=SIMULATED_START_NS) if track.source == "simulated" else None,
    )


def _can_wait(track: TrackConfig, pace_ms: int) -> bool:
    """Tell whether a device's output may be left in its pipe from one poll to the next."""
    if (track.block_ms or DEFAULT_BLOCK_MS) < DEFAULT_BLOCK_MS:
        return False  # shorter blocks are configured to have them soon
    rate = track.sample_rate or MAX_RECORDING_RATE_HZ  # its own may be any
    held_ms = pace_ms + (track.block_ms or SERVER_BLOCK_MS)  # and one block comes as we look
    return rate * track.sent_channels * SAMPLE_BYTES * held_ms / 1000 <= PIPE_BYTES


def pace_ms(config: Config) -> int:
    """Return the time between polls of stamped sources."""
    return TURNS_PACE_MS if config.finds_turns else PACE_MS


def watched_devices(
    config: Config, children: Mapping[TrackName, ChildSource]
) -> dict[TrackName, Watched]:
    """Return the tracks whose device may be swapped for another, or come late."""
    return {
        name: (track.device, children[name].findings)
        for name, track in track_configs(config).items()
        if track.source == "portaudio"
    }


def build_feeds(config: Config, clock: Clock) -> dict[TrackName, FeedSource]:
    """Return a feed for every track that applications push into."""
    return {
        name: FeedSource(name, clock)
        for name, track in track_configs(config).items()
        if track.source == "feed"
    }


def build_synchronizer(config: Config, drift_memory: MutableMapping[str, float]) -> Synchronizer:
    """Return a synchronizer for the configured tracks."""
    plans = {name: track_plan(config, name) for name in track_configs(config)}
    return Synchronizer(plans, late_s=late_s(config), drift_memory=drift_memory)


def late_s(config: Config) -> float:
    """Return how long to wait for a quiet track; a late device is late with everything."""
    offsets_ms = [track.offset_ms for track in track_configs(config).values()]
    return config.recording.late_seconds + max(0, *offsets_ms) / 1000


def track_plan(config: Config, name: TrackName) -> TrackPlan:
    """Return the synchronizer's settings of a track that has a source."""
    offset_ms = track_configs(config)[name].offset_ms
    return TrackPlan(offset_ms=offset_ms, continuous=delivers_always(config, name))


def recording_rate(config: Config, headers: Mapping[TrackName, StreamHeader]) -> int:
    """Return the timeline's rate: as configured, else the user device's own, else the bot's."""
    if config.recording.sample_rate is not None:
        return config.recording.sample_rate
    rates = [headers[name].sample_rate for name in TRACKS if name in headers]
    return min(rates[0], MAX_RECORDING_RATE_HZ) if rates else FALLBACK_RATE_HZ


def build_history(config: Config, rate: int) -> History:
    """Return a ring as long as the longest disk stall that loses nothing.

    After a stall that ends in an error there is the wait for the next try, and what was written
    but not durable is written again. Turns begin before they are noticed.
    """
    storage = config.storage
    keep_s = storage.stall_seconds + LAST_RETRY_S + storage.sync_seconds + turn_history_s(config)
    return History(history_frames(rate, keep_s))


def usual_lag_s(config: Config) -> float:
    """Return how much captured audio may not be durable while all is well."""
    undecided_s = gate_patience_s(config) if config.speech_only else 0.0
    return config.storage.sync_seconds + undecided_s + USUAL_LAG_S


def build_cleanup(config: Config, root: StorageRoot, clock: Clock) -> Cleanup:
    """Return the cleanup that keeps the storage root within `retention`."""
    return Cleanup(
        root,
        quota_of(config),
        bytes_per_s=bytes_per_s(config),
        stamp_now=lambda: stamp_now(clock),
    )


def quota_of(config: Config) -> Quota:
    """Return how much may be kept, with room for the chunk that is being written."""
    retention = config.retention
    recording = config.recording
    rate = recording.sample_rate or FALLBACK_RATE_HZ
    longest = recording.max_file_frames(rate)
    chunk_frames = min(recording.chunk_frames(rate) or longest, longest)
    return Quota(
        max_age_ns=(
            None if retention.max_age_days is None else round(retention.max_age_days * _DAY_NS)
        ),
        max_bytes=retention.max_bytes,
        min_free_bytes=retention.min_free_bytes,
        keep_unacknowledged=retention.keep_unacknowledged,
        reserve_bytes=chunk_frames * _frame_bytes(config),
    )


def bytes_per_s(config: Config) -> float:
    """Return how much recording writes, roughly; for the forecast."""
    recording = config.recording
    rate = recording.sample_rate or FALLBACK_RATE_HZ
    return rate * _frame_bytes(config) * _PUBLISHED_SHARE[recording.format]


def _frame_bytes(config: Config) -> int:
    recording = config.recording
    channels = recording.num_channels + (len(TRACKS) if recording.separate_tracks else 0)
    channels += len(TRACKS) if recording.enable_turn_audio else 0  # if nobody is ever silent
    return channels * SAMPLE_BYTES


def open_recording(
    config: Config,
    root: StorageRoot,
    timeline: SessionTimeline,
    on_published: Callable[[FilePublished], None],
    *,
    utc_wait_s: float,
    publishes: bool,
) -> Recording:
    """Open the files of a session under the next number.

    Parameters
    ----------
    publishes
        Whether a chunk is published when it ends; see `Recording`.
    """
    session = root.open_session(config.kiosk)
    return Recording(
        root,
        session,
        layout_of(config, timeline.rate),
        cutting_of(config, timeline.rate),
        timeline.stamp_of,
        on_published,
        utc_wait_s=utc_wait_s,
        turn_audio=config.recording.enable_turn_audio,
        publishes=publishes,
    )


def reshape_recording(config: Config, recording: Recording, timeline: SessionTimeline) -> None:
    """Continue a session's files as another configuration says.

    Raises
    ------
    StoreError
        The disk fails; do it again.
    """
    if config.recording.sample_rate not in (None, timeline.rate):
        return  # it is about to end, and the next session will be as configured
    recording.reshape(
        layout_of(config, timeline.rate),
        cutting_of(config, timeline.rate),
        utc_wait_s=config.storage.utc_wait_s,
    )


def layout_of(config: Config, rate: int) -> Layout:
    """Return the layout of the files, at the timeline's rate."""
    recording = config.recording
    known = {
        name: track
        for name, track in track_configs(config).items()
        if track.offset_ms or track.offset_source == "chirp"  # which may have found that it is 0
    }
    return Layout(
        sample_rate=rate,
        num_channels=recording.num_channels,
        separate_tracks=recording.separate_tracks,
        format=recording.format,
        latency_ms={name: track.offset_ms for name, track in known.items()},
        latency_source={name: track.offset_source for name, track in known.items()},
    )


def cutting_of(config: Config, rate: int) -> Cutting:
    """Return where chunks end, at the timeline's rate."""
    recording = config.recording
    return Cutting(
        chunk_frames=recording.chunk_frames(rate),
        max_file_frames=recording.max_file_frames(rate),
        align_to_clock=recording.align_to_clock,
    )


def capture_command(config: Config, name: TrackName, now_ns: int) -> list[str]:
    """Return the command that starts the capture child of one track, which has a device."""
    track = track_configs(config)[name]
    # None: as suits the device.
    block_ms = track.block_ms or (DEFAULT_BLOCK_MS if config.short_blocks else None)
    if track.source == "portaudio":
        return portaudio_command(name, track.device, track.channels, track.sample_rate, block_ms)
    simulate = track.simulate
    return simulate_command(
        name,
        seed=simulate.seed,
        start_ns=now_ns,
        sample_rate=track.sample_rate or SIMULATED_RATE_HZ,
        channels=track.sent_channels,
        block_ms=block_ms or SIMULATED_BLOCK_MS,
        drift_ppm=simulate.drift_ppm,
        jitter_ms=simulate.jitter_ms,
        loss_per_hour=simulate.loss_per_hour,
        stall_per_hour=simulate.stall_per_hour,
    )
