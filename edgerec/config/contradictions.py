"""Finds settings that are valid individually but contradict each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS
from edgerec.config.problems import Problem
from edgerec.config.schema import BLOCK_MARGIN_MS, Config, TrackConfig
from edgerec.feeds.playback import CONTINUE_NS
from edgerec.store.records.naming import OPUS_RATES_HZ
from edgerec.wire.blocks import MAX_RATE_HZ, SAMPLE_BYTES

MIN_CHUNK_S: Final = (
    0.1  # a file costs three fsyncs; more than ten a second no SD card keeps up with
)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Settings that don't go together; reported under the first of them."""

    paths: tuple[str, ...]
    found: Callable[[Config], bool]
    problem: str
    hint: str


def contradictions(config: Config, wrong: Collection[str]) -> Iterator[Problem]:
    """Yield what is wrong with the settings together.

    Parameters
    ----------
    config
        Each of its values is valid, or a default in place of a wrong one.
    wrong
        Paths of the wrong values, about whose combinations nothing can be said.
    """
    for rule in _CONTRADICTIONS:
        if not any(path in wrong for path in rule.paths) and rule.found(config):
            yield Problem(rule.paths[0], rule.problem, rule.hint)


def _chunk_too_short(config: Config) -> bool:
    # null: the device tells, and may have any rate.
    rate = config.recording.sample_rate or MAX_RATE_HZ
    size = config.recording.buffer_size
    return 0 < size < rate * SAMPLE_BYTES * MIN_CHUNK_S


def _chunk_past_ceiling(config: Config) -> bool:
    recording = config.recording
    return (
        recording.chunk_seconds is not None and recording.chunk_seconds > recording.max_file_seconds
    )


def _blocks_too_long(name: TrackName) -> Contradiction:
    """Hosts deliver blocks in pairs: the first is a block late, every time."""

    def found(config: Config) -> bool:
        track: TrackConfig = getattr(config.tracks, name)
        block_ms = track.block_ms or DEFAULT_BLOCK_MS
        late_ms = config.recording.late_seconds * 1000
        return track.source == "portaudio" and late_ms < block_ms + BLOCK_MARGIN_MS

    return Contradiction(
        ("recording.late_seconds", f"tracks.{name}.block_ms", f"tracks.{name}.source"),
        found,
        f"the {name} device delivers its blocks in pairs, the first of them later than that",
        f"use tracks.{name}.block_ms (null: {DEFAULT_BLOCK_MS}) and {BLOCK_MARGIN_MS} ms or more",
    )


_CONTRADICTIONS: Final = (
    _blocks_too_long("user"),
    _blocks_too_long("bot"),
    Contradiction(
        ("recording.buffer_size", "recording.chunk_seconds"),
        lambda config: bool(config.recording.buffer_size and config.recording.chunk_seconds),
        "both buffer_size and chunk_seconds say where a chunk ends",
        "set buffer_size to 0, or chunk_seconds to null",
    ),
    Contradiction(
        ("recording.buffer_size",),
        lambda config: config.recording.buffer_size % SAMPLE_BYTES != 0,
        "an odd number of bytes would cut a 16-bit sample in two",
        "sample_rate * 2 * seconds is even",
    ),
    Contradiction(
        ("recording.buffer_size", "recording.sample_rate"),
        _chunk_too_short,
        f"chunks shorter than {MIN_CHUNK_S} s",
        "buffer_size counts bytes: sample_rate * 2 * seconds",
    ),
    Contradiction(
        ("recording.chunk_seconds", "recording.max_file_seconds"),
        _chunk_past_ceiling,
        "a chunk longer than max_file_seconds allows",
        "raise max_file_seconds or lower chunk_seconds",
    ),
    Contradiction(
        ("recording.align_to_clock", "recording.chunk_seconds"),
        lambda config: config.recording.align_to_clock and not config.recording.chunk_seconds,
        "there is no chunk_seconds whose multiples the chunks could be cut on",
        "set chunk_seconds, or align_to_clock to false",
    ),
    Contradiction(
        ("recording.sample_rate", "tracks.user.source"),
        lambda config: (
            config.recording.sample_rate is None
            and config.tracks.user.source not in ("portaudio", "simulated")
        ),
        "null means the user device's own rate, and there is no such device",
        "give the rate in Hz, such as 16000",
    ),
    Contradiction(
        ("recording.sample_rate", "recording.format"),
        lambda config: (
            config.recording.format == "opus"
            and config.recording.sample_rate not in OPUS_RATES_HZ  # null may turn out to be any
        ),
        "not a rate that Opus has",
        f"use {', '.join(map(str, OPUS_RATES_HZ[:-1]))} or {OPUS_RATES_HZ[-1]}; or format: flac",
    ),
    Contradiction(
        ("recording.late_seconds", "tracks.user.source", "tracks.bot.source"),
        lambda config: (
            config.recording.late_seconds < CONTINUE_NS / 1e9
            and "feed" in (config.tracks.user.source, config.tracks.bot.source)
        ),
        f"a feed may continue {CONTINUE_NS / 1e9} s late, when silence would already be written",
        f"use {CONTINUE_NS / 1e9} or more",
    ),
    Contradiction(
        ("turns.pre_roll_s", "turns.max_turn_s"),
        lambda config: config.turns.pre_roll_s >= config.turns.max_turn_s,
        "a turn's file would be full before anybody speaks",
        "raise max_turn_s or lower pre_roll_s",
    ),
    Contradiction(
        ("tracks", "tracks.user.source", "tracks.bot.source"),
        lambda config: config.tracks.user.source == config.tracks.bot.source == "none",
        "both tracks are off",
        "give user or bot a source",
    ),
)
