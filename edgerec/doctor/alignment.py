"""Judges how far apart the tracks hear the same sound: its meaning, its error, what to set.

Pure; `sweep` finds the sound, `sound_check` plays and records it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from edgerec.audio import TRACKS, TrackName
from edgerec.config import Config
from edgerec.doctor.checkup import Finding
from edgerec.doctor.sweep import RATE_HZ, Delay, HeardSweep, delay

LEAST_HEARD: Final = 2  # sweeps, of a microphone that hears the loudspeaker
SAME: Final = 0.98  # of a microphone, that no room allows
WORTH_MS: Final = 5.0  # of delay: less is no more than a metre or two of air
FRAME_MS: Final = 1e3 / RATE_HZ  # each of two sweeps is found to half a frame
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
