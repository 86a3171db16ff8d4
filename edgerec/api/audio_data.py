"""The audio of a chunk or a turn as a handler receives it, with its metadata.

Frames are counted at the recording's rate from the session's frame 0 on; audio is 16-bit
little-endian PCM, and read from the file on access.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, cast

from edgerec.api.held_file import HeldFile
from edgerec.audio import TRACKS, TrackName
from edgerec.store.publish import FilePublished
from edgerec.store.records.sidecar import EndReason, Kind


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence in a file, in place of audio that is not there."""

    start_frame: int
    frames: int
    reason: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn, or part of a turn, that a file holds."""

    speaker: TrackName
    number: int
    part: int
    """Number of the part, from 0; a long turn continues in a further file."""
    speech_start_frame: int
    speech_end_frame: int
    by: Literal["vad", "mark"]
    """Origin of the turn: a detector, or a mark."""
    interrupted: bool
    """Whether it is a turn of the bot that the user interrupted."""
    exchange: int | None = None
    """Number of the exchange between user and bot, from 1; None: of a version without them."""


class AudioData:
    """Audio of a chunk or of a turn, as it was published; for any thread.

    It can be read as long as the event is kept, even when a sync job has taken the file, but only
    if the file is one of the last 128 published.
    """

    def __init__(self, published: FilePublished, file: HeldFile) -> None:
        self._file = file
        self.path: Final[Path] = published.path
        """Path at which the file was published."""
        self.sidecar_path: Final[Path] = published.sidecar
        """Path at which its sidecar was published."""
        self.kind: Final[Kind] = published.kind
        """What the file is: a chunk, a track of one, or a turn."""
        self.session: Final[str] = published.session
        """The session's id; a crash before this start may have left files of another one."""
        self.sequence: Final[int] = published.sequence
        """Sequence number in the session, from 0; turns and chunks are numbered separately."""
        self.start_frame: Final[int] = published.start_frame
        """First frame of the file on the session's timeline."""
        self.frames: Final[int] = published.frames
        """Length of the file in frames."""
        self.end_reason: Final[EndReason] = published.end_reason
        """Reason why the file ends where it ends."""

    def __repr__(self) -> str:
        """Name the file."""
        return f"AudioData({self.path.name})"

    @property
    def audio(self) -> bytes:
        """The whole audio: int16 little-endian, `frames` * `num_channels` samples, interleaved.

        Raises
        ------
        AudioGoneError
            The file can't be read any more.
        """
        return b"".join(self._file.blocks())

    def blocks(self, frames: int) -> Iterator[bytes]:
        """Yield `audio` in pieces of `frames` frames, the last one shorter.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return self._file.blocks(frames)

    @cached_property
    def sidecar(self) -> Mapping[str, Any]:
        """The whole sidecar, as described in docs/contract.md.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return self._file.sidecar()

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return int(self.sidecar["format"]["sample_rate"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Content of each channel: `user`, `bot` or `mix`."""
        return tuple(self.sidecar["format"]["channels"])

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def gaps(self) -> dict[TrackName, tuple[Gap, ...]]:
        """Silence in place of audio that is not there, by track."""
        return {
            name: tuple(Gap(**gap) for gap in track.get("gaps", ()))
            for name, track in self._tracks()
        }

    @property
    def drift_ppm(self) -> dict[TrackName, float | None]:
        """How fast each device runs, positive is fast; None while unknown."""
        return {name: track.get("drift_ppm") for name, track in self._tracks()}

    @property
    def turn(self) -> Turn:
        """The turn that the file holds.

        Raises
        ------
        ValueError
            The file is a chunk.
        """
        if self.sidecar["turn"] is None:
            raise ValueError(f"{self.path.name} is a chunk, not a turn")
        return Turn(**self.sidecar["turn"])

    def _tracks(self) -> Iterator[tuple[TrackName, Mapping[str, Any]]]:
        for name, track in self.sidecar["tracks"].items():
            yield cast(TrackName, name), track


class TrackAudioData:
    """The audio of one chunk, both tracks separately and of equal length; for any thread.

    It can be read for as long as `AudioData`.
    """

    def __init__(self, user: AudioData, bot: AudioData) -> None:
        self._user = user
        self._bot = bot
        self.sequence: Final[int] = user.sequence
        """The chunk's number in the session."""
        self.start_frame: Final[int] = user.start_frame
        """First frame of the chunk on the session's timeline."""
        self.frames: Final[int] = user.frames
        """Length of each track."""
        self.num_channels: Final[int] = 1
        """Number of channels of each track."""

    @property
    def user_audio(self) -> bytes:
        """Audio of the user track: int16 little-endian, `frames` samples.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return _channel(self._user, "user")

    @property
    def bot_audio(self) -> bytes:
        """Audio of the bot track; as `user_audio`."""
        return _channel(self._bot, "bot")

    @property
    def sample_rate(self) -> int:
        """Sampling rate in Hz."""
        return self._user.sample_rate

    @property
    def gaps(self) -> dict[TrackName, tuple[Gap, ...]]:
        """Silence in place of audio that is not there, by track."""
        return {**self._bot.gaps, **self._user.gaps}

    @property
    def drift_ppm(self) -> dict[TrackName, float | None]:
        """How fast each device runs, positive is fast; None while unknown."""
        return {**self._bot.drift_ppm, **self._user.drift_ppm}


def _channel(data: AudioData, track: TrackName) -> bytes:
    """Return one channel of interleaved audio."""
    if data.num_channels == 1:
        return data.audio
    import numpy as np

    samples = np.frombuffer(data.audio, "<i2").reshape(-1, data.num_channels)
    return samples[:, TRACKS.index(track)].tobytes()
