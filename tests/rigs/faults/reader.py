"""An independent reader of what was published: tiling, sums, declared losses, and the very sound.

It takes nothing from `edgerec.store`: JSON, WAV and SHA-256 are read here again. What the user's
device has played is known, so a frame that stands in the wrong place is found, too.
"""

import functools
import hashlib
import json
import wave
from dataclasses import dataclass, field

import numpy as np

from edgerec.simulation.conversation import conversation
from tests.rigs.faults.feeds import TONE_HZ

WINDOW_S = 0.25
LAG_S = 0.06
ALIKE = 0.9
LOUD = 1_000.0  # RMS of what is compared: the user, not the echo or the room
CLOCKS_MS = 5.0  # how far a chunk's own instant may be from its frame


@dataclass(frozen=True)
class Chunk:
    """One published chunk."""

    described: dict
    user: np.ndarray
    bot: np.ndarray
    problems: tuple[str, ...]

    @property
    def start(self):
        return self.described["start_frame"]

    @property
    def stop(self):
        return self.start + self.described["frames"]

    @property
    def rate(self):
        return self.described["format"]["sample_rate"]

    @property
    def start_ns(self):
        return self.described["monotonic_ns"]

    @property
    def stop_ns(self):
        return self.start_ns + self.described["frames"] * 1_000_000_000 // self.rate

    def lost(self):
        """Frames of the user that were not recorded, by reason."""
        gaps = self.described["tracks"]["user"]["gaps"]
        lost = {}
        for gap in gaps:
            lost[gap["reason"]] = lost.get(gap["reason"], 0) + gap["frames"]
        if self.described["missing_before"]:
            lost["missing"] = self.described["missing_before"]
        return lost

    def has_tone(self):
        """Whether the bot's tone is in it."""
        length = self.rate // 5
        turns = np.exp(-2j * np.pi * TONE_HZ * np.arange(length) / self.rate)
        pieces = (self.bot[at : at + length] for at in range(0, len(self.bot) - length, length))
        return any(abs(np.dot(turns, piece)) * 2 / length > 3_000 for piece in pieces)


@dataclass
class Reader:
    """Reads the archive as it grows.

    Attributes
    ----------
    worlds
        (from when on CLOCK_MONOTONIC, the world's beginning on CLOCK_MONOTONIC_RAW) per process.
    """

    archive: object
    worlds: list
    raw_ahead_ns: int
    seed: int
    chunks: list = field(default_factory=list)
    records: dict = field(default_factory=dict)
    _seen: set = field(default_factory=set)

    def read(self):
        """Read what is new; return what is wrong with it."""
        problems = []
        for path in sorted(self.archive.glob("*.json")):
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            described = json.loads(path.read_text())
            if described["kind"] == "session":
                self.records[described["session"]] = described
            else:
                chunk = read_chunk(path.parent / described["file"], described)
                self.chunks.append(chunk)
                problems += [f"{path.name}: {why}" for why in chunk.problems]
                problems += [f"{path.name}: {why}" for why in self._compare(chunk)]
        return problems

    def sessions(self):
        """Return the chunks of each session, in order."""
        found = {}
        for chunk in self.chunks:
            found.setdefault(chunk.described["session"], []).append(chunk)
        ordered = [sorted(s, key=lambda c: c.described["sequence"]) for s in found.values()]
        return sorted(ordered, key=lambda chunks: chunks[0].start_ns)

    def tiling(self, *, all_closed=False):
        """Return what does not follow on what; of sessions that are closed, their sums too."""
        problems = []
        for chunks in self.sessions():
            name = chunks[0].described["session"]
            stop, first = 0, chunks[0]
            for number, chunk in enumerate(chunks):
                if chunk.described["sequence"] != number:
                    problems.append(f"{name}: {number} is missing")
                    break
                if chunk.start != stop + chunk.described["missing_before"]:
                    problems.append(f"{name}: {number} begins at {chunk.start}, not {stop}")
                since_ns = (chunk.start - first.start) * 1_000_000_000 // chunk.rate
                off_ms = (chunk.start_ns - first.start_ns - since_ns) / 1e6
                if abs(off_ms) > CLOCKS_MS:
                    problems.append(f"{name}: {number} is dated {off_ms:.1f} ms off")
                stop = chunk.stop
            record = self.records.get(name)
            if record is None:
                problems += [f"{name}: it was never closed"] if all_closed else []
                continue
            held = sum(chunk.described["frames"] for chunk in chunks)
            lost = sum(record["losses"].values())
            if held + lost != record["frames"]:
                problems.append(f"{name}: {held} + {lost} frames are not {record['frames']}")
        return problems

    def lost_between(self, start_ns, stop_ns):
        """Return frames lost by reason in chunks that touch a span of CLOCK_MONOTONIC."""
        lost = {}
        for chunk in self.chunks:
            before_ns = chunk.described["missing_before"] * 1_000_000_000 // chunk.rate
            if chunk.start_ns - before_ns < stop_ns and chunk.stop_ns > start_ns:
                for reason, frames in chunk.lost().items():
                    lost[reason] = lost.get(reason, 0) + frames
        return lost

    def interruption_s(self, start_ns, stop_ns):
        """Return the longest time in a span of which there is no audio of the user at all."""
        spans = sorted((chunk.start_ns, chunk.stop_ns) for chunk in self.chunks)
        longest_ns, until_ns = 0, None
        for begins_ns, ends_ns in spans:
            if until_ns is not None and until_ns < stop_ns and begins_ns > start_ns:
                longest_ns = max(longest_ns, begins_ns - until_ns)
            until_ns = max(ends_ns, until_ns or 0)
        return longest_ns / 1e9

    def _compare(self, chunk):
        """Compare the user's channel with what its device played."""
        begun = [world for since_ns, world in self.worlds if since_ns <= chunk.start_ns]
        if not begun or len(chunk.user) < chunk.rate // 2:
            return
        first_s = (chunk.start_ns + self.raw_ahead_ns - begun[-1]) / 1e9
        lag = round(LAG_S * chunk.rate)
        sound = _world(self.seed)("user")
        frames = len(chunk.user) + 2 * lag
        played = _sampled(sound, first_s - LAG_S, chunk.rate, frames)
        heard = chunk.user.astype(float)
        for gap in chunk.described["tracks"]["user"]["gaps"]:
            at = gap["start_frame"] - chunk.start
            if heard[at : at + gap["frames"]].any():
                yield f"there is sound in the gap {gap}"
        width = round(WINDOW_S * chunk.rate)
        for at in range(0, len(heard) - width + 1, width):
            if played is None or _in_gap(chunk, at, width):
                continue
            around = played[at : at + width + 2 * lag]
            middle = around[2 * lag : -2 * lag] * 32_767  # is in the window at any lag
            if np.sqrt(np.mean(middle**2)) < LOUD:
                continue
            if (alike := _alike(heard[at : at + width], around)) < ALIKE:
                yield f"what stands at {at / chunk.rate:.2f} s was not played ({alike:.2f})"


def read_chunk(audio, described):
    """Return a chunk, with what is wrong with its own files."""
    data = audio.read_bytes()
    problems = []
    if len(data) != described["bytes"]:
        problems.append(f"{len(data)} bytes, not {described['bytes']}")
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        problems.append("its sum is wrong")
    with wave.open(str(audio)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    if len(pcm) != described["frames"]:
        problems.append(f"{len(pcm)} frames, not {described['frames']}")
    return Chunk(described, pcm[:, 0], pcm[:, 1], tuple(problems))


@functools.cache
def _world(seed):
    return conversation(seed)


def _sampled(sound, first_s, rate, frames):
    """Return what is heard, by a device of three times the rate and without what is too high."""
    heard = sound(first_s, 1 / (3 * rate), 3 * frames)
    if heard is None:
        return None
    return np.fft.irfft(np.fft.rfft(heard)[: frames // 2 + 1], frames) / 3


def _in_gap(chunk, at, width):
    start = chunk.start + at
    return any(
        gap["start_frame"] < start + width and gap["start_frame"] + gap["frames"] > start
        for gap in chunk.described["tracks"]["user"]["gaps"]
    )


def _alike(heard, played):
    """Return the best correlation over all lags."""
    size = len(heard)
    products = np.correlate(played, heard, "valid")
    energy = np.sqrt(np.convolve(played**2, np.ones(size), "valid") * np.sum(heard**2))
    return float(np.max(products / np.maximum(energy, 1e-9)))
