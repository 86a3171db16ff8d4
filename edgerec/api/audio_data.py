"""The audio of a chunk or a turn, as a handler gets it, and what is known of it.

Frames are counted at the recording's rate from the session's frame 0 on; audio is 16-bit
little-endian PCM, and read from the file when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from edgerec.api.held_file import HeldFile
from edgerec.audio import TRACKS, TrackName
from edgerec.store.publish import Published
from edgerec.store.records.sidecar import EndReason


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence in a file, in place of audio that is not there."""

    start_frame: int
    frames: int
    reason: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn a file holds, or a part of it."""

    speaker: TrackName
    number: int
    part: int
    """From 0 on; a long turn goes on in a further file."""
    speech_start_frame: int
    speech_end_frame: int
    by: Literal["vad", "mark"]
    """How it was found."""
    interrupted: bool
    """A turn of the bot that the user cut short."""


class AudioData:
    """Audio of a chunk or of a turn, as it was published; for any thread.

    It can be read as long as the event is kept, even when a sync job has taken the file; but of
    the last 128 published files only.
    """

    def __init__(self, published: Published, file: HeldFile) -> None:
        self._published = published
        self._file = file

    def __repr__(self) -> str:
        """Name the file."""
        return f"AudioData({self.path.name})"

    @property
    def path(self) -> Path:
        """Where it was published."""
        return self._published.path

    @property
    def sidecar_path(self) -> Path:
        """Where what is beside it was published."""
        return self._published.sidecar

    @property
    def sequence(self) -> int:
        """Its number in the session, from 0 on; turns and chunks are counted for themselves."""
        return self._published.sequence

    @property
    def start_frame(self) -> int:
        """Its first frame on the session's timeline."""
        return self._published.start

    @property
    def frames(self) -> int:
        """Its length."""
        return self._published.frames

    @property
    def end_reason(self) -> EndReason:
        """Why it ends where it ends."""
        return self._published.end_reason

    @property
    def audio(self) -> bytes:
        """All of it: int16 little-endian, `frames` * `num_channels` samples, interleaved.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return b"".join(self._file.blocks())

    def blocks(self, frames: int) -> Iterator[bytes]:
        """Yield `audio` in pieces of so many frames, the last one shorter.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return self._file.blocks(frames)

    @cached_property
    def sidecar(self) -> Mapping[str, Any]:
        """All that is known of it, as docs/contract.md describes it.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return self._file.sidecar()

    @property
    def session(self) -> str:
        """The session's id; a crash before this start may have left files of another one."""
        return str(self.sidecar["session"])

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return int(self.sidecar["format"]["sample_rate"])

    @property
    def channels(self) -> tuple[str, ...]:
        """What each channel holds: `user`, `bot`, `mix`."""
        return tuple(self.sidecar["format"]["channels"])

    @property
    def num_channels(self) -> int:
        """How many there are."""
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
        """Whose turn it is.

        Raises
        ------
        ValueError
            It is a chunk's audio.
        """
        if self.sidecar["turn"] is None:
            raise ValueError(f"{self.path.name} is a chunk, not a turn")
        return Turn(**self.sidecar["turn"])

    def _tracks(self) -> Iterator[tuple[TrackName, Mapping[str, Any]]]:
        for name, track in self.sidecar["tracks"].items():
            yield cast(TrackName, name), track


class TrackAudioData:
    """The audio of one chunk, both tracks separately and of equal length; for any thread.

    As `AudioData`.
    """

    def __init__(self, user: AudioData, bot: AudioData) -> None:
        self._user = user
        self._bot = bot

    @property
    def user_audio(self) -> bytes:
        """What the user said: int16 little-endian, `frames` samples.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        return _channel(self._user, "user")

    @property
    def bot_audio(self) -> bytes:
        """What the bot said; as `user_audio`."""
        return _channel(self._bot, "bot")

    @property
    def sequence(self) -> int:
        """The chunk's number in the session."""
        return self._user.sequence

    @property
    def start_frame(self) -> int:
        """Of the chunk, on the session's timeline."""
        return self._user.start_frame

    @property
    def frames(self) -> int:
        """Length of each track."""
        return self._user.frames

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._user.sample_rate

    @property
    def num_channels(self) -> int:
        """Of each track: 1."""
        return 1

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
