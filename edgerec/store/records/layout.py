"""The files that a chunk or a turn consists of, and the content of their channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, TrackName
from edgerec.store.records.naming import OPUS_RATES_HZ, TURN_OF, Format, What

CHUNK: Final[What] = "chunk"
MIX: Final = "mix"
"""Name of the one channel of a mono recording: user and bot added."""

LatencySource = Literal["unknown", "configured", "chirp"]

_INT16: Final = np.iinfo(np.int16)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files to be written for a chunk or turn, their channels, rate and format."""

    sample_rate: int
    """Sampling rate of the recording, in Hz."""
    num_channels: int
    """Number of channels of a chunk. 1: user and bot mixed; 2: user left, bot right."""
    separate_tracks: bool = False
    """Whether each track is also written to a file of its own."""
    format: Format = "wav"
    """Format in which the files are published."""
    latency_ms: Mapping[TrackName, float] = field(default_factory=dict)
    """Assumed latency of each device, where it is known."""
    latency_source: Mapping[TrackName, LatencySource] = field(default_factory=dict)
    """Source of each assumed latency."""
    main: What = CHUNK
    """Content of the first file: the chunk, or a turn of one speaker."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning here."""
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate is {self.sample_rate}, expected at least 1 Hz")
        if self.num_channels not in (1, 2):
            raise ValueError(f"num_channels is {self.num_channels}, expected 1 or 2")
        if self.main in TRACKS:
            raise ValueError(f"main is {self.main!r}, expected the chunk or a turn")
        if self.format == "opus" and self.sample_rate not in OPUS_RATES_HZ:
            rates = ", ".join(map(str, OPUS_RATES_HZ))
            raise ValueError(f"sample_rate is {self.sample_rate}, Opus has only {rates} Hz")

    @property
    def files(self) -> tuple[What, ...]:
        """Content of each file; the first is the chunk itself, or the turn."""
        return (self.main, *TRACKS) if self.separate_tracks else (self.main,)

    @property
    def tracks(self) -> tuple[TrackName, ...]:
        """The tracks that the files hold."""
        return tuple(track for track in TRACKS if self.main in (CHUNK, TURN_OF[track]))

    def of_turns(self, speaker: TrackName) -> Layout:
        """Return the layout of one speaker's turn files."""
        return replace(self, main=TURN_OF[speaker], separate_tracks=False)

    def channels(self, what: What) -> tuple[str, ...]:
        """Return the names of a file's channels."""
        if what != CHUNK:
            return (what.removeprefix("turn-"),)
        return (MIX,) if self.num_channels == 1 else TRACKS

    def samples(self, what: What, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return a file's samples, (frames, channels), from those of the tracks, (tracks, frames).

        A sum that does not fit into 16 bits is held at full scale; wrapping round would be a
        loud click.
        """
        if what != CHUNK:
            names: tuple[str, ...] = TRACKS
            (name,) = self.channels(what)
            track = names.index(name)
            return pcm[track : track + 1].T
        if self.num_channels == 2:
            interleaved = np.empty(pcm.shape[::-1], dtype=np.int16)
            for channel, track in enumerate(pcm):  # four times as fast as a copy of pcm.T
                interleaved[:, channel] = track
            return interleaved
        total: NDArray[np.int32] = pcm.sum(axis=0, dtype=np.int32, keepdims=True)
        return total.clip(_INT16.min, _INT16.max).astype(np.int16).T
