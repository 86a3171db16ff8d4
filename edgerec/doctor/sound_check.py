"""Tests the audio chain with sweeps: loudspeaker to loopback, and loudspeaker to microphone.

Sweeps are played and recorded by the normal pipeline, into a temporary folder. Needs the devices,
so the service must not hold them; a sound server shares them.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import threading
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgerec import kernel
from edgerec.audio import TRACKS, TrackName
from edgerec.capture.devices.alsa_cards import PORT_MARK
from edgerec.capture.devices.catalog import PULSE_PREFIX, DeviceError, find_device
from edgerec.clock import ClockReading
from edgerec.config import Config, RecordingConfig, StorageConfig
from edgerec.doctor.alignment import (
    LEAST_HEARD,
    RATE_HZ,
    SWEEP_S,
    SWEEPS,
    HeardSweep,
    delay,
    find_sweeps,
    judge_delay,
    judge_loopback,
    judge_microphone,
    judge_offset,
    length_s,
    write_sweeps,
)
from edgerec.doctor.checkup import Finding
from edgerec.engine.engine import Engine
from edgerec.health.echo_memory import CHIRP_FILE, add_chirp, read_chirps
from edgerec.health.status import Chirp
from edgerec.store.disk import StoreError, is_folder
from edgerec.store.records.sidecar_reader import MAX_BYTES
from edgerec.store.root import STATE
from edgerec.store.writing.wav import HEADER_BYTES
from edgerec.validation.bounded_json import read_json

STARTS_S: Final = 15.0  # until both devices deliver
PLAYS_S: Final = 20.0  # longer than the sound lasts; a player that hangs is killed
CHUNK_S: Final = 2.5  # each states how exact the tracks were in it
ECHO_S: Final = 3.0  # recorded after the last sweep: what is on its way through buffers
_MONITOR: Final = ".monitor"


class SoundCheckError(Exception):
    """The sweeps could not be played or recorded; says what to do."""


@dataclass(frozen=True, slots=True)
class SoundCheck:
    """The sweeps heard on each track."""

    heard: dict[TrackName, list[HeardSweep]]
    played: int = SWEEPS
    apart_ms: float = math.inf
    """By how much the tracks may be out of their places together, as the sidecars state it for at
    least half of the sweeps; infinite where they don't."""


def player_command(config: Config, output: str | None) -> list[str]:
    """Return the command, without the file's name, that plays a file on the kiosk's loudspeaker.

    Parameters
    ----------
    output
        An ALSA PCM, or `pulse:SINK`; None: the one whose monitor the bot track records, else the
        default.

    Raises
    ------
    SoundCheckError
        No suitable program is installed, or the bot track's device is not there.
    """
    device = config.tracks.bot.device or ""
    if output is None and PORT_MARK in device:
        device = _id_today(device)
    if output is None and device.startswith(PULSE_PREFIX) and device.endswith(_MONITOR):
        output = device.removesuffix(_MONITOR)
    if output is not None and output.startswith(PULSE_PREFIX):
        wanted = ["paplay", f"--device={output.removeprefix(PULSE_PREFIX)}"]
    else:
        wanted = ["aplay", "-q", "-D", output or "default"]
    if shutil.which(wanted[0]) is None:
        package = {"paplay": "pulseaudio-utils", "aplay": "alsa-utils"}[wanted[0]]
        raise SoundCheckError(f"{wanted[0]} is not installed: apt install {package}")
    return wanted


def _id_today(device: str) -> str:
    try:
        return find_device(device).id
    except DeviceError as error:
        raise SoundCheckError(f"tracks.bot.device: {error}; {error.hint}") from error


def play_and_record(config: Config, player: Sequence[str], sweeps: int = SWEEPS) -> SoundCheck:
    """Play the sweeps and record them on the configured tracks; takes 5 to 20 s more than they do.

    Raises
    ------
    SoundCheckError
        A device does not deliver, or the player fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgerec-doctor-") as name:
        folder = Path(name)
        write_sweeps(folder / "sweeps.wav", sweeps)
        test = replace(
            config,
            kiosk_id="doctor",
            recording=RecordingConfig(sample_rate=RATE_HZ, chunk_seconds=CHUNK_S),
            storage=StorageConfig(root=folder / "root", utc_wait_s=0),
        )
        with Engine(test) as engine:
            _await_devices(engine)
            _play([*player, str(folder / "sweeps.wav")], length_s(sweeps) + PLAYS_S)
            threading.Event().wait(ECHO_S)
        recorded = _recorded(folder / "root")
    heard = {name: find_sweeps(recorded.pcm[n], RATE_HZ, sweeps) for n, name in enumerate(TRACKS)}
    return SoundCheck(heard, sweeps, recorded.apart_ms(heard["bot"]))


def _await_devices(engine: Engine) -> None:
    waited = threading.Event()
    for _ in range(round(STARTS_S / 0.25)):
        states = engine.vitals().sources
        silent = {name: state for name, state in states.items() if state.name != "running"}
        if not silent:
            return
        waited.wait(0.25)
    why = "; ".join(f"{name}: {state.detail or state.name}" for name, state in silent.items())
    raise SoundCheckError(f"no audio ({why}); if the service holds the devices, stop it first")


def _play(command: Sequence[str], within_s: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=within_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SoundCheckError(f"playing with {command[0]}: {error}") from error
    if done.returncode != 0:
        said = kernel.lines(kernel.text_of(done.stderr).strip())
        why = said[-1] if said else f"status {done.returncode}"
        raise SoundCheckError(f"playing with {' '.join(command[:-1])}: {why}")


@dataclass(frozen=True, slots=True)
class _Recorded:
    pcm: NDArray[np.int16]
    """Both channels of everything: shape (2, frames)."""
    stated: list[tuple[float, float]]
    """By the end of each chunk, in seconds: how far the tracks may be apart, in ms."""

    def apart_ms(self, sweeps: Sequence[HeardSweep]) -> float:
        """Return how far the tracks may be apart at most at half of the sweeps, or more."""
        at_each = []
        for one in sweeps:
            ends = [end_s for end_s, _ in self.stated]
            first, last = (bisect(ends, one.at_s), bisect(ends, one.at_s + SWEEP_S))
            at_each.append(max(apart_ms for _, apart_ms in self.stated[first : last + 1]))
        return median(at_each) if at_each else math.inf


def _residuals_us(sidecar: dict[str, Any]) -> list[float | None]:
    return [track["residual_us"] for track in sidecar["tracks"].values()]


def _recorded(root: Path) -> _Recorded:
    pieces, stated, frames = [], [], 0
    for path in sorted(root.glob("ready/**/*_chunk.wav")):
        pcm = np.frombuffer(path.read_bytes(), "<i2", offset=HEADER_BYTES)
        pieces.append(pcm.reshape(-1, len(TRACKS)))
        frames += len(pieces[-1])
        residuals_us = read_json(path.with_suffix(".json"), _residuals_us, max_bytes=MAX_BYTES)
        known = sum(math.inf if one is None else one for one in residuals_us)
        stated.append((frames / RATE_HZ, known / 1e3))
    if not pieces:
        raise SoundCheckError("nothing was recorded; see `edgerec doctor`")
    return _Recorded(np.concatenate(pieces).T, stated)


def judge_sound(config: Config, check: SoundCheck) -> Iterator[Finding]:
    """Report what the sweeps have shown about the chain, and what to set."""
    yield from _judge_hearing(config, check)
    if len(config.tracks.used) == len(TRACKS):
        yield from judge_delay(config, check.heard["user"], check.heard["bot"])


def judge_alignment(config: Config, check: SoundCheck) -> Iterator[Finding]:
    """Say how far apart the tracks hear the same sound and how exact that is, and what to set."""
    yield from _judge_hearing(config, check)
    found = delay(check.heard["user"], check.heard["bot"])
    yield judge_offset(config, found, check.played, check.apart_ms)


def _judge_hearing(config: Config, check: SoundCheck) -> Iterator[Finding]:
    """Say which track hears the loudspeaker, and how loud."""
    tracks = config.tracks.used
    bot, user = check.heard["bot"], check.heard["user"]
    if "bot" in tracks:
        yield judge_loopback(bot, check.played)
    if "user" not in tracks:
        return
    if len(user) < LEAST_HEARD:
        yield Finding(
            "chirp",
            "warning",
            "the microphone does not hear the loudspeaker",
            "turn it up, unmute the microphone, or name the right one; then again",
        )
        return
    level = float(np.median([one.rms_dbfs for one in user]))
    yield judge_microphone(level)


def log_chirp(config: Config, check: SoundCheck, now: ClockReading) -> Iterator[Finding]:
    """Store what the sweeps have measured, if there is a storage root."""
    state = config.storage.root / STATE
    try:
        if not is_folder(state, follow_links=True):
            return
    except StoreError as error:
        yield Finding("chirp", "note", f"not remembered: {error}", "see the kernel log: dmesg")
        return
    user, bot = check.heard["user"], check.heard["bot"]
    found = delay(user, bot)
    offset_ms = config.tracks.user.offset_ms - config.tracks.bot.offset_ms
    utc = datetime.fromtimestamp(now.utc_ns // 1_000_000_000, UTC)
    chirp = Chirp(
        utc=utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        utc_trusted=now.utc_trusted,
        delay_ms=None if found is None else round(found.ms + offset_ms, 1),
        user_dbfs=_loudness(user),
        bot_dbfs=_loudness(bot),
    )
    before = next(reversed(read_chirps(state / CHIRP_FILE)), None)
    if before is not None and before.delay_ms is not None and chirp.delay_ms is not None:
        told = f"{chirp.delay_ms - before.delay_ms:+.1f} ms against the chirp of {before.utc}"
        yield Finding("chirp", "ok", told)
    try:
        add_chirp(state / CHIRP_FILE, chirp)
    except StoreError as error:
        yield Finding("chirp", "note", f"not remembered: {error}", "run it as the service's user")


def _loudness(heard: Sequence[HeardSweep]) -> float | None:
    return float(np.median([one.rms_dbfs for one in heard])) if heard else None
