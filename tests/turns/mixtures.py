"""Which recordings are turns measured on, and who speaks when in them?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.turns.material import NOISES, RATE_HZ, Room, Samples, Speech, level, quiet

SCENE_S = 240


@dataclass(frozen=True, slots=True)
class Spoken:
    """A turn that was really spoken, in seconds of its scene."""

    start: float
    stop: float
    barge_in: bool = False
    """Over the bot."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Some minutes of a kiosk, and the truth about them."""

    pcm: NDArray[np.int16]
    """int16, shape (2, frames): user and bot at `RATE_HZ`."""
    user: tuple[Spoken, ...]
    bot: tuple[Spoken, ...]
    room: Room | None = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.pcm.shape[1] / RATE_HZ


def noisy(speech: Speech, noise: str, turns: int, seed: int) -> Iterator[Scene]:
    """Yield scenes of a user who speaks `turns` times in `noise`; the bot is silent."""
    rng = np.random.default_rng(seed)
    left = turns
    while left > 0:
        user = np.zeros(SCENE_S * RATE_HZ, np.float32)
        spoken = list(_talk(rng, speech, user, (1.5, 5.0), most=left))
        left -= len(spoken)
        made = NOISES[noise](rng, len(user))
        yield Scene(_pcm(user + quiet(rng, len(user)) + made, None), tuple(spoken), ())


def only(noise: str, hours: float, seed: int) -> Iterator[Scene]:
    """Yield `hours` of noise in which nobody speaks."""
    rng = np.random.default_rng(seed)
    for _ in range(max(1, round(hours * 3600 / SCENE_S))):
        yield Scene(_pcm(NOISES[noise](rng, SCENE_S * RATE_HZ), None), (), ())


def echoing(
    speech: Speech, return_db: float, bot_hours: float, seed: int, *, barge_ins: bool
) -> Iterator[Scene]:
    """Yield scenes, each in a room of its own, in which the microphone hears the bot.

    With `barge_ins` the user speaks over about every second utterance of the bot, as loud as its
    echo, and the bot does not stop for it; without, the user never speaks.
    """
    rng = np.random.default_rng(seed)
    left = bot_hours * 3600
    while left > 0:
        bot = np.zeros(SCENE_S * RATE_HZ, np.float32)
        said = tuple(_talk(rng, speech, bot, (0.6, 2.5), half=0, gain_db=(-2, 2), seconds=(4, 14)))
        left -= sum(turn.stop - turn.start for turn in said)
        room = Room.make(rng, return_db)
        user = np.zeros(len(bot), np.float32)
        spoken = tuple(_barge_in(rng, speech, user, said, return_db)) if barge_ins else ()
        heard = user + room.hear(bot) + quiet(rng, len(user))
        yield Scene(_pcm(heard, bot), spoken, said, room)


def conversing(speech: Speech, share: float, minutes: float, seed: int) -> Iterator[Scene]:
    """Yield scenes in which user and bot speak in turn, during `share` of the time, with echo."""
    rng = np.random.default_rng(seed)
    for _ in range(max(1, round(minutes * 60 / SCENE_S))):
        tracks = np.zeros((2, SCENE_S * RATE_HZ), np.float32)
        spoken: tuple[list[Spoken], list[Spoken]] = ([], [])
        at, speaker = rng.uniform(0.5, 2.0), 0
        while True:
            turn = speech.turn(rng, rng.uniform(2, 8), half=1 - speaker)
            begin, seconds = int(at * RATE_HZ), len(turn.samples) / RATE_HZ
            if begin + len(turn.samples) > tracks.shape[1]:
                break
            tracks[speaker, begin : begin + len(turn.samples)] += turn.samples
            spoken[speaker].append(Spoken(at, at + turn.speech[-1][1]))
            at += seconds / share
            speaker = 1 - speaker
        room = Room.make(rng, -12.0)
        heard = tracks[0] + room.hear(tracks[1]) + quiet(rng, tracks.shape[1])
        yield Scene(_pcm(heard, tracks[1]), tuple(spoken[0]), tuple(spoken[1]), room)


def _talk(
    rng: np.random.Generator,
    speech: Speech,
    track: Samples,
    pause_s: tuple[float, float],
    *,
    most: int = 10**6,
    half: int | None = None,
    gain_db: tuple[float, float] = (-5, 5),
    seconds: tuple[float, float] = (1, 15),
) -> Iterator[Spoken]:
    at = rng.uniform(2.0, 4.0)
    for _ in range(most):
        turn = speech.turn(rng, float(np.exp(rng.uniform(*np.log(seconds)))), half)
        begin = int(at * RATE_HZ)
        if begin + len(turn.samples) > len(track) - RATE_HZ:
            return
        track[begin : begin + len(turn.samples)] += turn.samples * level(rng.uniform(*gain_db))
        yield Spoken(at, at + turn.speech[-1][1])
        at += len(turn.samples) / RATE_HZ + rng.uniform(*pause_s)


def _barge_in(
    rng: np.random.Generator,
    speech: Speech,
    user: Samples,
    said: tuple[Spoken, ...],
    return_db: float,
) -> Iterator[Spoken]:
    free_from = 62.0  # bounds hold after the first minute
    for bot in said:
        seconds = rng.uniform(1.2, 4.0)
        start = bot.start + rng.uniform(0.5, max(0.6, bot.stop - bot.start - seconds))
        if start < free_from or rng.random() < 0.4:
            continue
        turn = speech.turn(rng, seconds, half=1)
        begin = int(start * RATE_HZ)
        if start + turn.speech[-1][1] > bot.stop or begin + len(turn.samples) > len(user):
            continue
        user[begin : begin + len(turn.samples)] += turn.samples * level(return_db)
        yield Spoken(start, start + turn.speech[-1][1], barge_in=True)
        free_from = start + len(turn.samples) / RATE_HZ + 2.5


def _pcm(user: Samples, bot: Samples | None) -> NDArray[np.int16]:
    both = np.stack([user, np.zeros_like(user) if bot is None else bot])
    return np.clip(np.round(both * 32768), -32768, 32767).astype(np.int16)
