"""Sweeps: their sound, where recorded tracks hold them, and what that says of the tracks.

Pure; `sound_check` plays and records them. Judgements say which track hears the loudspeaker and how
loud, how far apart they are and how exact that is, and what to set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, TrackName
from edgerec.config import Config
from edgerec.doctor.checkup import Finding
from edgerec.wire.wav import wav_header

RATE_HZ: Final = 48_000
SWEEP_S: Final = 1.0
SWEEPS: Final = 3
ALIGNMENT_SWEEPS: Final = 7  # 15 s from the first to the last
PERIOD_S: Final = 2.5  # from one sweep to the next: a room has fallen silent by then
LEAD_S: Final = 2.0  # of silence before the first one: a sleeping sink takes 1.5 s to wake up
BAND_HZ: Final = (300.0, 6_000.0)  # what every microphone and small loudspeaker has
LEVEL: Final = 0.25  # of full scale: -12 dBFS
FADE_S: Final = 0.02  # a click would be louder than the sweep
LEAST_CLARITY: Final = 0.08
"""Least clarity of a sweep that was heard: a second of noise has at most 0.045."""


@dataclass(frozen=True, slots=True)
class HeardSweep:
    """One sweep, found in a recording."""

    at_s: float
    """Time of the sweep's first sample since the recording's first, in seconds."""
    clarity: float
    """Share of the sweep in the sound: 1 is all of it, 0.7 half of the energy."""
    rms_dbfs: float
    """Level of the sweep alone."""


def sweep(rate: int = RATE_HZ) -> NDArray[np.float64]:
    """Return one sweep, full scale 1."""
    t = np.arange(round(SWEEP_S * rate)) / rate
    low, high = BAND_HZ
    octaves = math.log(high / low)
    phase = 2 * math.pi * low * SWEEP_S / octaves * (np.exp(t / SWEEP_S * octaves) - 1)
    fade = np.minimum(1.0, np.minimum(t, SWEEP_S - t) / FADE_S)
    return LEVEL * fade * np.sin(phase)


def played_dbfs() -> float:
    """Return the level at which the sweeps are played, as `HeardSweep.rms_dbfs` counts it."""
    return 20 * math.log10(float(np.sqrt(np.mean(sweep() ** 2))))


def length_s(sweeps: int) -> float:
    """Return how long that many sweeps take, with the silence before and after them."""
    return LEAD_S + sweeps * PERIOD_S


def write_sweeps(path: Path, sweeps: int = SWEEPS) -> None:
    """Write the sweeps to be played as a mono WAV file, with silence before and after them."""
    sound = np.zeros(round(length_s(sweeps) * RATE_HZ))
    one = sweep()
    for nth in range(sweeps):
        first = round((LEAD_S + nth * PERIOD_S) * RATE_HZ)
        sound[first : first + len(one)] = one
    pcm = np.rint(sound * 32_767).astype("<i2").tobytes()
    path.write_bytes(wav_header(RATE_HZ, 1, len(pcm)) + pcm)


def find_sweeps(samples: NDArray[np.int16], rate: int, sweeps: int = SWEEPS) -> list[HeardSweep]:
    """Return the sweeps in one track (int16, shape (frames,)), in order; at most those played."""
    played = sweep(rate)
    if len(samples) < len(played):
        return []
    heard = samples / 32_768
    size = 1 << (len(heard) + len(played) - 1).bit_length()
    product = np.fft.rfft(heard, size) * np.fft.rfft(played, size).conj()
    fit = np.fft.irfft(product, size)[: len(heard) - len(played) + 1]
    energy = np.concatenate(([0.0], np.cumsum(heard**2)))
    there = energy[len(played) :] - energy[: -len(played)]
    norm = float(np.sqrt(played @ played))
    clarity = np.abs(fit) / (norm * np.sqrt(there) + 1e-6)  # of digital silence: 0
    found = []
    apart = round(PERIOD_S / 2 * rate)
    for _ in range(sweeps):
        at = int(clarity.argmax())
        if clarity[at] < LEAST_CLARITY:
            break
        amplitude = abs(float(fit[at])) / norm / math.sqrt(len(played))
        level = 20 * math.log10(max(amplitude, 1e-9))
        found.append(HeardSweep(at / rate, float(clarity[at]), round(level, 1)))
        clarity[max(0, at - apart) : at + apart] = 0
    return sorted(found, key=lambda one: one.at_s)


@dataclass(frozen=True, slots=True)
class Delay:
    """Delay of the loudspeaker's sound in the user track relative to the bot track."""

    ms: float
    """Median of the sweeps."""
    spread_ms: float
    """Largest difference between the sweeps."""
    drift_ppm: float
    """Drift between the tracks; for a synchronised recording, the measurement's own error."""
    sweeps: int
    """Number of sweeps that both tracks have."""
    over_s: float
    """Time from the first of them to the last."""
    step_ms: float
    """Largest change from one sweep to the next."""
    step_at_s: float
    """Start of the sweep after that change, relative to the first sweep."""


def delay(user: Sequence[HeardSweep], bot: Sequence[HeardSweep]) -> Delay | None:
    """Return the delay between two tracks; None where they do not have the same sweeps."""
    pairs = [(u.at_s - b.at_s, b.at_s) for b in bot for u in user if abs(u.at_s - b.at_s) < 1.0]
    if len(pairs) < 2:
        return None
    delays = np.array([d for d, _ in pairs])
    times = np.array([at for _, at in pairs])
    slope = float(np.polyfit(times, delays, 1)[0])
    steps = np.diff(delays)
    step = int(np.argmax(np.abs(steps)))
    return Delay(
        ms=round(float(np.median(delays)) * 1e3, 2),
        spread_ms=round(float(delays.max() - delays.min()) * 1e3, 2),
        drift_ppm=round(slope * 1e6, 1),
        sweeps=len(pairs),
        over_s=float(times[-1] - times[0]),
        step_ms=round(float(steps[step]) * 1e3, 2),
        step_at_s=round(float(times[step + 1] - times[0]), 1),
    )


LEAST_HEARD: Final = 2  # sweeps, of a microphone that hears the loudspeaker
SAME: Final = 0.98  # of a microphone, that no room allows
WORTH_MS: Final = 5.0  # of delay: less is no more than a metre or two of air
FRAME_MS: Final = 1e3 / RATE_HZ  # each of two sweeps is found to half a frame
CLEAR: Final = 0.6  # of a loopback: two thirds of what it hears is what was played
LOUD_DBFS: Final = -6.0
FAINT_DBFS: Final = -55.0
# A third of a sound server's volume; at a tenth, 60 dB, speech has 6 of 16 bits left.
FAINT_LOOPBACK_DB: Final = 30.0
MOVED_MS: Final = 1.0
"""From one sweep to the next, or apart: what a date of a sound server errs by."""


def judge_delay(
    config: Config, user: Sequence[HeardSweep], bot: Sequence[HeardSweep]
) -> Iterator[Finding]:
    """Say by how much the microphone hears the loudspeaker later than the loopback."""
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
    fix = f"{_to_set(config, found)}; a metre between loudspeaker and microphone is 3 ms of it"
    yield Finding("chirp", "note", told, fix)


def judge_offset(config: Config, found: Delay | None, played: int, apart_ms: float) -> Finding:
    """Say how far apart the tracks are, give or take what, and which key makes up for it.

    Parameters
    ----------
    played
        How many sweeps were.
    apart_ms
        By how much both tracks together may be out of their places; infinite: not known.
    """
    heard = 0 if found is None else found.sweeps
    if found is None or heard <= played // 2:
        told = f"the offset is not known: both tracks have {heard} of {played} sweeps"
        fix = (
            "see the findings above; a cable from line-out to the microphone's input makes it sure"
        )
        return Finding("alignment", "warning", told, fix)
    if math.isinf(apart_ms):
        told = "the offset is not known: the tracks did not state how exact their own place is"
        return Finding("alignment", "warning", told, "measure again when the machine is less busy")
    heard_ms = found.spread_ms + FRAME_MS  # of this recording; the next may be placed otherwise
    error_ms = heard_ms + apart_ms
    later, earlier = TRACKS if found.ms >= 0 else reversed(TRACKS)
    told = (
        f"the {later} track is {abs(found.ms):.2f} ms later than the {earlier} track, give or take "
        f"{error_ms:.2f} ms ({found.sweeps} sweeps over {found.over_s:.1f} s, "
        f"{found.spread_ms:.2f} ms between them; both state {apart_ms:.2f} ms of their place; "
        f"with tracks.user.offset_ms {config.tracks.user.offset_ms:g}, "
        f"tracks.bot.offset_ms {config.tracks.bot.offset_ms:g})"
    )
    if abs(found.step_ms) > MOVED_MS:
        told += (
            f"; but the tracks moved: {found.step_at_s:g} s after the first sweep the user track "
            f"was {found.step_ms:+.2f} ms later against the bot track than one sweep before"
        )
        fix = (
            "measure again while nothing else plays, opens the devices or keeps the machine busy, "
            "and set no offset by this; where it moves again, look for gaps `xrun` and `resync` in "
            "the sidecars"
        )
        return Finding("alignment", "warning", told, fix)
    if abs(found.ms) <= max(heard_ms, MOVED_MS):
        return Finding("alignment", "ok", told)
    fix = (
        f"{_to_set(config, found)}; without a cable between the two, 3 ms for each metre of air "
        "are in it"
    )
    if abs(found.ms) <= error_ms:
        fix = f"restart what plays, measure again, and where it comes out alike, {fix}"
    return Finding("alignment", "note", told, fix)


def _to_set(config: Config, found: Delay) -> str:
    """Return which keys make up for a delay, and their values."""
    late: TrackName = "user" if found.ms > 0 else "bot"
    now_ms = config.tracks.used[late].offset_ms
    offset_ms = round(now_ms + abs(found.ms), 1)
    return (
        f"set tracks.{late}.offset_ms to {offset_ms:g} (it is {now_ms:g}), and its "
        "offset_source to chirp"
    )


def judge_loopback(bot: Sequence[HeardSweep], played: int) -> Finding:
    """Say whether the bot track records the loudspeaker, and how loud, after `played` sweeps."""
    clarity = float(np.median([one.clarity for one in bot])) if bot else 0.0
    if len(bot) < played or clarity < CLEAR:
        return Finding(
            "chirp",
            "failure",
            f"the bot track does not record the loudspeaker: {len(bot)} of {played} sweeps are "
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


def judge_microphone(level: float) -> Finding:
    """Say whether the microphone hears the loudspeaker well, at `level` in dBFS."""
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
