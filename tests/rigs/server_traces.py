"""What sound servers said of real streams, and what was true: recorded once, replayed for ever.

A trace is a file of a few KiB for each condition of `scripts/campaign servers`: for both tracks the
blocks of the capture child without their audio, each with its arrival and its date, and when some
of the frames were truly played. Behind PipeWire that is relative: true for one track against the
other.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.audio import Block, DeviceFrame, StreamHeader
from edgerec.wire.trace import read_trace

FOLDER = Path(__file__).parents[1] / "sync" / "traces"
BEFORE_NS = 20_000_000_000  # the first arrival: its date may be seconds before it
TRUTH_S = 0.25  # from one frame whose truth is looked for to the next
NEAR_S = 0.6  # two of them that are neighbours
STEADY_NS = 300_000  # by which a player's own timing scatters


@dataclass(frozen=True)
class Stream:
    """One stream of a capture child, with its audio."""

    header: StreamHeader
    blocks: list[Block]

    @classmethod
    def of(cls, path: Path) -> "Stream":
        """Read the longest stream of a trace: a child that stalls begins another one."""
        streams: list[Stream] = []
        for message in read_trace(path):
            if isinstance(message, StreamHeader):
                streams.append(cls(message, []))
            else:
                streams[-1].blocks.append(message)
        return max(streams, key=lambda stream: len(stream.blocks))

    @property
    def mono(self) -> np.ndarray:
        """What was heard, without holes."""
        pcm = b"".join(block.pcm for block in self.blocks)
        return np.frombuffer(pcm, "<i2").reshape(-1, self.header.channels).mean(axis=1)

    def reduced(self, at: np.ndarray, true_ns: np.ndarray, start_ns: int) -> dict[str, Any]:
        """Return it without audio, with its instants counted from `start_ns`.

        `at` counts what was heard, `true_ns` says when that was.
        """
        ends = np.cumsum([block.frames for block in self.blocks])
        truth: list[tuple[int, int]] = []
        for index, instant_ns in zip(at, true_ns, strict=True):
            nth = int(np.searchsorted(ends, index, side="right"))
            frame = self.blocks[nth].first_frame + int(index - ends[nth]) + self.blocks[nth].frames
            if not np.isnan(instant_ns):
                truth.append((frame, round(instant_ns) - start_ns))
        return {
            "sample_rate": self.header.sample_rate,
            "dated": self.header.dated,
            "blocks": [
                (
                    block.first_frame,
                    block.frames,
                    block.arrived_ns - start_ns,
                    block.adc_ns - start_ns if block.adc_error_us else 0,
                    block.adc_error_us,
                    block.flags,
                )
                for block in self.blocks
            ],
            "truth": truth,
        }


@dataclass(frozen=True)
class TracedTrack:
    """One track of a trace, to be replayed."""

    header: StreamHeader
    blocks: tuple[Block, ...]
    """Their audio is silence."""
    truth: tuple[tuple[int, int], ...]
    """Frames, and when they were played: those around which the player played steadily."""
    jumps: tuple[int, ...]
    """Frames by which something is missing, or was not played."""


@dataclass(frozen=True)
class ServerTrace:
    """One condition."""

    is_relative: bool
    """The truth of one track is known against the other one's only."""
    tracks: dict[str, TracedTrack]


def path_of(condition: str, folder: Path = FOLDER) -> Path:
    """Return the file of a condition."""
    return folder / f"{condition.replace(' ', '-').replace('/', '-')}.json.gz"


def write(folder: Path, condition: str, found: dict[str, Any]) -> Path:
    """Write what was found into a file named after its condition."""
    path = path_of(condition, folder)
    text = json.dumps(found, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def read(path: Path) -> ServerTrace:
    """Read one condition."""
    found = json.loads(gzip.decompress(path.read_bytes()))
    tracks = {}
    for name, track in found["tracks"].items():
        rate, dated = track["sample_rate"], track["dated"]
        header = StreamHeader(rate, 1, name, path.stem, "monotonic_raw", dated=dated)
        stored = track["truth"]
        truth = tuple(_steady(stored, rate))
        jumps = tuple(
            after[0]
            for before, after in pairwise(stored)
            if abs(_off_ns(before, after, rate)) > STEADY_NS
        )
        tracks[name] = TracedTrack(header, tuple(_blocks(track["blocks"])), truth, jumps)
    return ServerTrace(found["is_relative"], tracks)


def _steady(stored: list[tuple[int, int]], rate: int) -> Iterator[tuple[int, int]]:
    """Yield what is certain: beside a pause it is not known on which side a frame was played.

    And a player that is answered late notes a single instant that is off by milliseconds.
    """

    for before, this, after in zip(stored, stored[1:], stored[2:], strict=False):
        if _agree(before, this, rate) and _agree(this, after, rate):
            yield (this[0], this[1])


def _agree(one: tuple[int, int], other: tuple[int, int], rate: int) -> bool:
    is_near = other[0] - one[0] <= NEAR_S * rate
    return is_near and abs(_off_ns(one, other, rate)) <= STEADY_NS


def _off_ns(one: tuple[int, int], other: tuple[int, int], rate: int) -> float:
    """Return by how much more time passed than frames."""
    return other[1] - one[1] - (other[0] - one[0]) * 1e9 / rate


def _blocks(stored: list[list[int]]) -> Iterator[Block]:
    for first, frames, arrived_ns, adc_ns, adc_error_us, flags in stored:
        pcm = bytes(2 * frames)
        yield Block(DeviceFrame(first), frames, arrived_ns, adc_ns, flags, pcm, adc_error_us)
