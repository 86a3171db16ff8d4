"""Finds what is wrong with a configuration whose values are valid individually.

Settings that contradict each other are errors. What this machine lacks (hook programs, folders), or
what shares the folder of `storage.root`, is a warning: it does not prevent recording, and what is
missing may appear later.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.audio import TrackName
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS
from edgerec.config.problems import Problem
from edgerec.config.schema import BLOCK_MARGIN_MS, Config, TrackConfig
from edgerec.feeds.playback import CONTINUE_NS
from edgerec.store.disk import StoreError
from edgerec.store.ownership import checkout_around, others_in
from edgerec.store.records.naming import OPUS_RATES_HZ
from edgerec.validation.typed import shown
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


_PATH_CHARACTERS: Final = 250


def absences(config: Config) -> Iterator[Problem]:
    """Yield what is missing for the user of this process; reads the disk."""
    for name in ("on_chunk", "on_turn", "on_state"):
        command: tuple[str, ...] = getattr(config.hooks, name)
        if command and shutil.which(command[0]) is None:
            yield Problem(f"hooks.{name}", *_no_program(command[0]))
    textfile = config.metrics.textfile
    if textfile is not None:
        wrong = _unwritable(textfile)
        if wrong is not None:
            yield Problem("metrics.textfile", *wrong)


def _no_program(program: str) -> tuple[str, str]:
    named = shown(program, _PATH_CHARACTERS)
    if "/" not in program:
        told = f"there is no program {named} in {os.environ.get('PATH', os.defpath)}"
        return told, "install it, or give its full path"
    if not os.path.lexists(program):
        return f"there is no program {named}", "install it, or correct the path"
    return f"{named} can't be run by this user", "make it executable for that user: chmod a+rx"


def _unwritable(textfile: Path) -> tuple[str, str] | None:
    folder = shown(str(textfile.parent), _PATH_CHARACTERS)
    # Of os.path: those of pathlib raise where a folder above may not be looked into.
    if not os.path.isdir(textfile.parent):  # noqa: PTH112
        return f"there is no folder {folder}", "create it, or name another folder"
    if not os.access(textfile.parent, os.W_OK | os.X_OK):
        told = f"this user may not write to {folder}"
        return told, "give the folder to the service's user; in the unit: ReadWritePaths="
    if os.path.isdir(textfile):  # noqa: PTH112
        return f"{folder}/{textfile.name} is a folder", "name a file in it"
    return None


_HINT: Final = "give storage.root a folder of its own, outside any sources"


def shared_root(config: Config) -> Iterator[Problem]:
    """Yield what `storage.root` is shared with, as this process's user finds it; reads the disk.

    The recorder does not begin in a folder that holds other things, but continues in one where it
    has begun.
    """
    root = config.storage.root
    with suppress(StoreError):  # not there yet, or not for this user to see
        if others := others_in(root):
            yield Problem("storage.root", f"{root} holds {others}", _HINT)
    with suppress(StoreError):
        if (checkout := checkout_around(root)) is not None:
            told = (
                f"{root} is in the checkout {checkout}, where `git clean` would delete recordings"
            )
            yield Problem("storage.root", told, _HINT)
