"""What is there to hear: labelled speech, and the noises, music and rooms of a kiosk.

Everything but the speech is made in code from a seed. float32 at `RATE_HZ`, full scale 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
SPEECH_DB = -26.0
"""Level of speech in the microphone and in the loopback (ITU-T P.56's usual -26 dBov)."""
DISTORTION = 1.5
"""Of the loudspeaker: 1 dB of compression at 0.6 of full scale, third harmonic at -30 dB there."""
WANDER_US = 30.0
"""By how much the tracks move against each other, within 20 s: see docs/synchronisation.md."""
LONGEST_PAUSE_S = 0.7
"""Between two phrases of one turn; a longer one ends it (the default hangover is 0.8 s)."""

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech, and when in it somebody speaks, in seconds."""

    samples: Samples
    speech: tuple[tuple[float, float], ...]


class Speech:
    """Labelled clips, cut into the phrases that turns are made of."""

    def __init__(self, folder: Path) -> None:
        self._phrases: list[list[Utterance]] = []
        for labels in sorted(folder.glob("*.scv")):
            self._phrases.append(_phrases(labels))
        if not self._phrases:
            raise SystemExit(f"no labelled speech (NN.scv beside NN.wav or NN.flac) in {folder}")

    def turn(self, rng: np.random.Generator, seconds: float, half: int | None = None) -> Utterance:
        """Return about `seconds` of one or more phrases; `half` 0 or 1: only of those speakers."""
        clips = self._phrases if half is None else self._phrases[half::2]
        clip = clips[rng.integers(len(clips))]
        at = int(rng.integers(len(clip)))
        parts: list[Samples] = []
        speech: list[tuple[float, float]] = []
        length = 0.0
        while length < seconds:
            phrase = clip[at]
            if length + len(phrase.samples) / RATE_HZ > seconds + 1.0:
                phrase = _shortened(phrase, seconds - length)
            if parts:
                pause = rng.uniform(0.15, 0.45)
                parts.append(np.zeros(int(pause * RATE_HZ), np.float32))
                length += len(parts[-1]) / RATE_HZ
            speech += [(length + start, length + stop) for start, stop in phrase.speech]
            parts.append(phrase.samples)
            length += len(phrase.samples) / RATE_HZ
            at += 1
            if at == len(clip):
                clip, at = clips[rng.integers(len(clips))], 0
        return Utterance(np.concatenate(parts), tuple(speech))


def _phrases(labels: Path) -> list[Utterance]:
    fields = labels.read_text().strip().split(",")[1:]
    spoken = [
        (float(start), float(stop))
        for start, stop, speech in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
        if speech == "1"
    ]
    audio = next(p for p in (labels.with_suffix(s) for s in (".wav", ".flac")) if p.exists())
    samples, rate = soundfile.read(audio, dtype="float32")
    if rate != RATE_HZ:
        raise SystemExit(f"{audio} is at {rate} Hz: labelled speech is at {RATE_HZ} Hz")
    active = np.concatenate([samples[int(a * rate) : int(b * rate)] for a, b in spoken])
    samples = samples * (level(SPEECH_DB) / np.sqrt(np.mean(active**2)))
    groups: list[list[tuple[float, float]]] = []
    for start, stop in spoken:
        if groups and start - groups[-1][-1][1] <= LONGEST_PAUSE_S:
            groups[-1].append((start, stop))
        else:
            groups.append([(start, stop)])
    return [_cut(samples, group) for group in groups]


def _cut(samples: Samples, spoken: list[tuple[float, float]]) -> Utterance:
    first, last = int(spoken[0][0] * RATE_HZ), int(spoken[-1][1] * RATE_HZ)
    piece = faded(samples[first:last])
    begin = spoken[0][0]
    return Utterance(piece, tuple((start - begin, stop - begin) for start, stop in spoken))


def _shortened(phrase: Utterance, seconds: float) -> Utterance:
    """Keep whole labelled stretches, at least one, up to about `seconds`."""
    kept = [span for span in phrase.speech if span[1] <= max(seconds, phrase.speech[0][1])]
    return Utterance(faded(phrase.samples[: int(kept[-1][1] * RATE_HZ)]), tuple(kept))


def faded(samples: Samples, seconds: float = 0.008) -> Samples:
    """Return a copy that begins and ends softly: a cut must not be a click."""
    copy = samples.copy()
    ramp = np.linspace(0, 1, int(seconds * RATE_HZ), dtype=np.float32)
    copy[: len(ramp)] *= ramp
    copy[-len(ramp) :] *= ramp[::-1]
    return copy


def level(db: float) -> float:
    """Return the amplitude that is `db` below full scale."""
    return float(10 ** (db / 20))


def noise(rng: np.random.Generator, frames: int, db: float, slope: float, top_hz: float) -> Samples:
    """Steady noise whose power falls by `slope` dB an octave, and is gone above `top_hz`."""
    spectrum = rng.standard_normal(frames // 2 + 1) + 1j * rng.standard_normal(frames // 2 + 1)
    hz = np.fft.rfftfreq(frames, 1 / RATE_HZ)
    shape = np.maximum(hz, 40.0) ** (-slope / 6.02) / (1 + (hz / top_hz) ** 4)
    made = np.fft.irfft(spectrum * shape, frames).astype(np.float32)
    return made * np.float32(level(db) / np.sqrt(np.mean(made**2)))


def quiet(rng: np.random.Generator, frames: int) -> Samples:
    """A quiet room and the microphone's own noise."""
    return noise(rng, frames, -66.0, 3.0, 7_000)


def pink(snr_db: float) -> Callable[[np.random.Generator, int], Samples]:
    """Return what makes steady noise of equal power in every octave, `snr_db` under speech."""
    return lambda rng, frames: noise(rng, frames, SPEECH_DB - snr_db, 3.0, RATE_HZ)


def hvac(rng: np.random.Generator, frames: int) -> Samples:
    """Ventilation, 10 dB under speech: low-passed noise that breathes a little."""
    breath = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.1, 0.3) * np.arange(frames) / RATE_HZ)
    return (noise(rng, frames, SPEECH_DB - 10, 5.0, 2_500) * breath).astype(np.float32)


def clatter(rng: np.random.Generator, frames: int) -> Samples:
    """Dishes, keys, doors: random impacts, ringing modes and bursts, up to speech level."""
    made = quiet(rng, frames)
    impacts = rng.poisson(2.0 * frames / RATE_HZ)
    for at in np.sort(rng.integers(0, frames, impacts)):
        ring = _impact(rng)[: frames - at]
        made[at : at + len(ring)] += ring
    return made


def _impact(rng: np.random.Generator) -> Samples:
    t = np.arange(int(0.4 * RATE_HZ), dtype=np.float32) / RATE_HZ
    made = np.zeros(len(t), np.float32)
    for _ in range(rng.integers(2, 7)):
        decay = rng.uniform(0.01, 0.12)
        made += (
            rng.uniform(0.3, 1)
            * np.sin(2 * np.pi * rng.uniform(300, 7_000) * t + rng.uniform(0, 6.3))
            * np.exp(-t / decay)
        )
    made += rng.standard_normal(len(t)).astype(np.float32) * np.exp(-t / rng.uniform(0.004, 0.05))
    peak = level(rng.uniform(-36, -12))
    return (made * (peak / np.max(np.abs(made)))).astype(np.float32)


def music(rng: np.random.Generator, frames: int) -> Samples:
    """Chords, arpeggios, a melody with vibrato and a drum, 10 dB under speech."""
    made = np.zeros(frames, np.float32)
    at, root = 0, 57
    while at < frames:
        beat = rng.uniform(0.28, 0.6)
        root = int(np.clip(root + rng.choice([-5, -2, 0, 2, 3, 5]), 45, 64))
        chord = [root, root + int(rng.choice([3, 4])), root + 7, root + 12]
        bar = int(4 * beat * RATE_HZ)
        for when, note, seconds, loud in _bar(rng, chord, beat):
            tone = _note(rng, note, seconds) * loud
            begin = at + int(when * RATE_HZ)
            if begin < frames:
                made[begin : begin + len(tone)] += tone[: frames - begin]
        at += bar
    return (made * (level(SPEECH_DB - 10) / np.sqrt(np.mean(made**2)))).astype(np.float32)


def _bar(
    rng: np.random.Generator, chord: list[int], beat: float
) -> Iterator[tuple[float, int, float, float]]:
    for note in chord:
        yield 0.0, note, 4 * beat, 0.3
    step = beat / int(rng.integers(1, 4))
    for at in np.arange(0, 4 * beat, step):
        yield float(at), int(rng.choice(chord)) + 12, step * 1.5, 0.5
    if rng.random() < 0.6:
        for beats in range(4):
            if rng.random() < 0.7:
                melody = int(rng.choice(chord)) + int(rng.choice([0, 2, 12]))
                yield beats * beat, melody, beat * rng.uniform(0.6, 1), 0.8


def _note(rng: np.random.Generator, midi: int, seconds: float) -> Samples:
    t = np.arange(int(seconds * RATE_HZ), dtype=np.float32) / RATE_HZ
    hz = 440.0 * 2 ** ((midi - 69) / 12)
    depth = rng.choice([0.0, 0.004])
    phase = 2 * np.pi * hz * (t + depth / 31.4 * np.sin(31.4 * t))
    made = np.zeros(len(t), np.float32)
    bright = rng.uniform(0.8, 2.2)
    for harmonic in range(1, 13):
        if harmonic * hz < 7_500:
            made += np.sin(harmonic * phase) / harmonic**bright
    envelope = np.exp(-t / rng.uniform(0.2, 1.2)) * np.minimum(1, t / 0.01)
    release = np.minimum(1, (seconds - t) / 0.02)
    return (made * envelope * release).astype(np.float32)


def _wandering(samples: Samples) -> Samples:
    """Read `samples` up to `WANDER_US` early and late; first order, good for a hundredth of one."""
    at = np.arange(len(samples)) / RATE_HZ
    late = WANDER_US * 1e-6 * np.sin(2 * np.pi * at / 20) * RATE_HZ
    return (samples - late * np.gradient(samples)).astype(np.float32)


NOISES: dict[str, Callable[[np.random.Generator, int], Samples]] = {
    "quiet": quiet,
    "pink 10 dB": pink(10),
    "pink 5 dB": pink(5),
    "hvac": hvac,
    "clatter": clatter,
    "music": music,
}


@dataclass(frozen=True, slots=True)
class Room:
    """The way from the loudspeaker to the microphone."""

    delay_s: float
    return_db: float
    """Of the whole echo against the bot's track."""
    response: Samples

    @classmethod
    def make(cls, rng: np.random.Generator, return_db: float) -> Room:
        """Make a room: 20 to 200 ms of delay, then a decay of 60 dB in 0.2 to 0.5 s."""
        delay_s, rt60_s = rng.uniform(0.02, 0.2), rng.uniform(0.2, 0.5)
        t = np.arange(int(rt60_s * RATE_HZ)) / RATE_HZ
        tail = rng.standard_normal(len(t)) * np.exp(-6.91 * t / rt60_s)
        # The loudspeaker is near: half of what is heard of it comes directly.
        tail *= 1 / np.sqrt(np.sum(tail**2))
        response = np.zeros(int(delay_s * RATE_HZ) + len(t))
        response[-len(t) :] = tail
        response[int(delay_s * RATE_HZ)] += 1
        response *= level(return_db) / np.sqrt(np.sum(response**2))
        return cls(delay_s, return_db, response.astype(np.float32))

    def hear(self, bot: Samples) -> Samples:
        """Return what arrives at the microphone of what the loudspeaker plays."""
        # A small loudspeaker bends its cone: a few percent of distortion at speech peaks.
        bot = np.tanh(bot * DISTORTION).astype(np.float32) / np.float32(DISTORTION)
        size = len(bot) + len(self.response) - 1
        n = 1 << (size - 1).bit_length()
        product = np.fft.rfft(bot, n) * np.fft.rfft(self.response, n)
        hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
        product *= hz**2 / (hz**2 + 180.0**2)  # a small loudspeaker has no bass
        heard = _wandering(np.fft.irfft(product, n)[: len(bot)].astype(np.float32))
        power = float(np.sqrt(np.mean(heard**2)))
        wanted = level(self.return_db) * float(np.sqrt(np.mean(bot**2)))
        return heard * np.float32(wanted / power) if power else heard
