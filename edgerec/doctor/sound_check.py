"""Tests the audio chain with sweeps: loudspeaker to loopback, and loudspeaker to microphone.

Sweeps are played and recorded by the normal pipeline, into a temporary folder. Needs the devices,
so the service must not hold them; a sound server shares them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec import kernel
from edgerec.audio import TRACKS, TrackName
from edgerec.capture.devices.catalog import PULSE_PREFIX
from edgerec.clock import ClockReading
from edgerec.config import Config, RecordingConfig, StorageConfig
from edgerec.doctor.checkup import Finding
from edgerec.doctor.sweep import (
    RATE_HZ,
    SWEEPS,
    HeardSweep,
    delay,
    find_sweeps,
    played_dbfs,
    write_sweeps,
)
from edgerec.engine.build import track_configs
from edgerec.engine.engine import Engine
from edgerec.health.chirp_log import FILE, Chirp, add_chirp, read_chirps
from edgerec.store.disk import StoreError
from edgerec.store.root import STATE

STARTS_S: Final = 15.0  # until both devices deliver
PLAYS_S: Final = 30.0  # for 10 s of sound; a player that hangs is killed
ECHO_S: Final = 3.0  # recorded after the last sweep: what is on its way through buffers
CLEAR: Final = 0.6  # of a loopback: two thirds of what it hears is what was played
SAME: Final = 0.98  # of a microphone, that no room allows
WORTH_MS: Final = 5.0  # of delay: less is a metre or two of air
LOUD_DBFS: Final = -6.0
FAINT_DBFS: Final = -55.0
# A third of a sound server's volume; at a tenth, 60 dB, speech has 6 of 16 bits left.
FAINT_LOOPBACK_DB: Final = 30.0
_MONITOR: Final = ".monitor"


class SoundCheckError(Exception):
    """The sweeps could not be played or recorded; says what to do."""


@dataclass(frozen=True, slots=True)
class SoundCheck:
    """The sweeps heard on each track."""

    heard: dict[TrackName, list[HeardSweep]]


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
        No suitable program is installed.
    """
    device = config.tracks.bot.device or ""
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


def play_and_record(config: Config, player: Sequence[str]) -> SoundCheck:
    """Play the sweeps and record them on the configured tracks; takes 15 to 30 s.

    Raises
    ------
    SoundCheckError
        A device does not deliver, or the player fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgerec-doctor-") as name:
        folder = Path(name)
        write_sweeps(folder / "sweeps.wav")
        test = replace(
            config,
            kiosk_id="doctor",
            recording=RecordingConfig(sample_rate=RATE_HZ),
            storage=StorageConfig(root=folder / "root", utc_wait_s=0),
        )
        with Engine(test) as engine:
            _await_devices(engine)
            _play([*player, str(folder / "sweeps.wav")])
            threading.Event().wait(ECHO_S)
        channels = _recorded(folder / "root")
    return SoundCheck({name: find_sweeps(channels[n], RATE_HZ) for n, name in enumerate(TRACKS)})


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


def _play(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=PLAYS_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SoundCheckError(f"playing with {command[0]}: {error}") from error
    if done.returncode != 0:
        said = kernel.lines(kernel.text_of(done.stderr).strip())
        why = said[-1] if said else f"status {done.returncode}"
        raise SoundCheckError(f"playing with {' '.join(command[:-1])}: {why}")


def _recorded(root: Path) -> NDArray[np.int16]:
    """Return both channels of everything recorded (int16, shape (2, frames))."""
    pieces = []
    for path in sorted(root.glob("ready/**/*_chunk.wav")):
        with wave.open(str(path), "rb") as file:
            pieces.append(np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2))
    if not pieces:
        raise SoundCheckError("nothing was recorded; see `edgerec doctor`")
    return np.concatenate(pieces).T


def judge_sound(config: Config, check: SoundCheck) -> Iterator[Finding]:
    """Report what the sweeps have shown about the chain, and what to set."""
    tracks = track_configs(config)
    bot, user = check.heard["bot"], check.heard["user"]
    if "bot" in tracks:
        yield _judge_loopback(bot)
    if "user" not in tracks:
        return
    if len(user) < 2:
        yield Finding(
            "chirp",
            "warning",
            "the microphone does not hear the loudspeaker",
            "turn it up, unmute the microphone, or name the right one; then again",
        )
        return
    level = float(np.median([one.rms_dbfs for one in user]))
    yield _judge_microphone(level)
    if "bot" in tracks:
        yield from _judge_delay(config, user, bot)


def log_chirp(config: Config, check: SoundCheck, now: ClockReading) -> Iterator[Finding]:
    """Store what the sweeps have measured, if there is a storage root."""
    state = config.storage.root / STATE
    if not state.is_dir():
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
    before = next(reversed(read_chirps(state / FILE)), None)
    if before is not None and before.delay_ms is not None and chirp.delay_ms is not None:
        told = f"{chirp.delay_ms - before.delay_ms:+.1f} ms against the chirp of {before.utc}"
        yield Finding("chirp", "ok", told)
    try:
        add_chirp(state / FILE, chirp)
    except StoreError as error:
        yield Finding("chirp", "note", f"not remembered: {error}", "run it as the service's user")


def _loudness(heard: Sequence[HeardSweep]) -> float | None:
    return float(np.median([one.rms_dbfs for one in heard])) if heard else None


def _judge_loopback(bot: Sequence[HeardSweep]) -> Finding:
    clarity = float(np.median([one.clarity for one in bot])) if bot else 0.0
    if len(bot) < SWEEPS or clarity < CLEAR:
        return Finding(
            "chirp",
            "failure",
            f"the bot track does not record the loudspeaker: {len(bot)} of {SWEEPS} sweeps are "
            f"in it, and make up {clarity**2:.0%} of what it hears",
            "set tracks.bot.device as `edgerec loopback` shows; is the sound played there at all, "
            "and at full volume?",
        )
    told = f"the bot track records the loudspeaker ({clarity**2:.0%} of it)"
    below_db = round(played_dbfs() - float(np.median([one.rms_dbfs for one in bot])))
    told += f", {abs(below_db)} dB {'below' if below_db >= 0 else 'above'} what was played"
    if below_db < FAINT_LOOPBACK_DB:
        return Finding("chirp", "ok", told)
    return Finding(
        "chirp",
        "warning",
        told,
        "set the volume of the loudspeaker, of its monitor and of what plays to 100 % (`pactl "
        "set-sink-volume`, `set-source-volume`, `alsamixer`) and turn the amplifier down instead",
    )


def _judge_microphone(level: float) -> Finding:
    told = f"the microphone hears the loudspeaker at {level:.0f} dBFS"
    if level > LOUD_DBFS:
        return Finding("chirp", "warning", told, "turn the microphone's gain down: it will clip")
    if level < FAINT_DBFS:
        return Finding(
            "chirp",
            "note",
            told,
            "very faint: turn up the loudspeaker, or the "
            "microphone's volume (`pactl set-source-volume`, `alsamixer` F4)",
        )
    return Finding("chirp", "ok", told)


def _judge_delay(
    config: Config, user: Sequence[HeardSweep], bot: Sequence[HeardSweep]
) -> Iterator[Finding]:
    found = delay(user, bot)
    if found is None:
        return
    if abs(found.ms) < 1.0 and min(one.clarity for one in user) >= SAME:
        yield Finding(
            "chirp",
            "failure",
            "the user track is the loudspeaker's signal, not a microphone's",
            "set tracks.user.device to the microphone; `edgerec devices` lists what there is",
        )
        return
    told = (
        f"the microphone has the loudspeaker {found.ms:.1f} ms after the loopback "
        f"(within {found.spread_ms:.1f} ms; {found.drift_ppm:+.0f} ppm apart over the test)"
    )
    if abs(found.ms) < WORTH_MS:
        yield Finding("chirp", "ok", told)
        return
    late: TrackName = "user" if found.ms > 0 else "bot"
    now_ms = track_configs(config)[late].offset_ms
    offset_ms = round(now_ms + abs(found.ms), 1)
    yield Finding(
        "chirp",
        "note",
        told,
        f"set tracks.{late}.offset_ms to {offset_ms:g} (it is {now_ms:g}), and its "
        "offset_source to chirp; "
        "a metre between loudspeaker and microphone is 3 ms of it",
    )
