"""Stores what a source delivered in a file, and delivers it again.

A trace is a block stream in a file: what one capture child wrote, to replay a field problem at a
desk. A WAV file is read as if a perfect device had delivered it. Both come in bounded pieces.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from edgerec.audio import (
    Block,
    BlockFlags,
    Delivery,
    DeviceFrame,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.wire.blocks import Decoder, WireError, device_name, encode_block, encode_stream_header
from edgerec.wire.wav import START_BYTES, PcmFormat, WavInputError, is_wav, read_wav_header, to_s16

DEFAULT_BLOCK_MS: Final = 100
"""Length of a block, as the capture child's, so that a replay takes a recording's code paths."""

_READ_BYTES: Final = 1 << 16


class TraceError(Exception):
    """A file that can't be read, or not to its end, as recorded input.

    Attributes
    ----------
    path
        The file.
    offset
        The byte from which on it can't be read.
    """

    def __init__(self, path: Path, offset: int, problem: str) -> None:
        super().__init__(f"{path}, byte {offset}: {problem}")
        self.path = path
        self.offset = offset


def open_input(path: Path, track: TrackName) -> Iterator[StreamHeader | Block]:
    """Read a trace or a WAV file, whichever its content says it is, as one track.

    Yields
    ------
    As `read_trace` or `read_wav`.

    Raises
    ------
    TraceError
        It is neither, or not a regular file; or, when read up to there, it is damaged, or a trace
        of the other track.
    OSError
        It can't be opened.
    """
    if path.exists() and not path.is_file():  # it is opened twice, and a pipe can't be
        raise TraceError(path, 0, "not a regular file; write it to one first")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if is_wav(start):
        return read_wav(path, track)
    if start.startswith(b"{"):
        return _of_track(read_trace(path), path, track)
    raise TraceError(
        path, 0, f"neither a trace nor a WAV file (begins with {start!r}); try ffmpeg -i FILE x.wav"
    )


def _of_track(
    messages: Iterator[StreamHeader | Block], path: Path, track: TrackName
) -> Iterator[StreamHeader | Block]:
    for message in messages:
        if isinstance(message, StreamHeader) and message.track != track:
            raise TraceError(path, 0, f"a trace of {message.track}, given as {track}")
        yield message


def read_trace(path: Path) -> Iterator[StreamHeader | Block]:
    """Yield every whole message of a trace.

    Raises
    ------
    TraceError
        After the last message that could be read: the rest is malformed or cut off.
    """
    decoder = Decoder()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            try:
                yield from decoder.feed(data)
            except WireError as error:
                raise TraceError(path, error.offset, str(error)) from error
    if decoder.unfinished:
        raise TraceError(path, decoder.offset, "cut off: the file ends inside a header or block")


def read_wav(
    path: Path, track: TrackName, block_ms: int = DEFAULT_BLOCK_MS
) -> Iterator[StreamHeader | Block]:
    """Yield a WAV file as a device exactly at its nominal rate.

    The first frame is sampled at instant 0 of the clock `monotonic`, and every block arrives as
    its last frame ends.

    Raises
    ------
    TraceError
        It is not such a file; or, after the last whole frame, it is shorter than its header says.
    """
    with path.open("rb") as file:
        wav, size = _wav_header(path, file)
        rate = wav.sample_rate
        yield StreamHeader(rate, wav.channels, track, device_name(path.name), "monotonic")
        block_bytes = max(1, rate * block_ms // 1000) * wav.frame_bytes
        first_frame, left = 0, size
        while data := file.read(block_bytes if left is None else min(block_bytes, left)):
            left = None if left is None else left - len(data)
            frames, rest = divmod(len(data), wav.frame_bytes)
            if frames:  # a cut-off file may end in a frame
                pcm = to_s16(data[: len(data) - rest], wav.samples)
                flags = 0 if first_frame else BlockFlags.NEW_STREAM.value
                end_ns = (first_frame + frames) * 1_000_000_000 // rate
                yield Block(DeviceFrame(first_frame), frames, end_ns, 0, flags, pcm)
            first_frame += frames
        promised = 0 if size is None else size // wav.frame_bytes
        if first_frame < promised:
            raise TraceError(
                path,
                file.tell(),
                f"cut off: its header promises {promised} frames, it has {first_frame}",
            )


def _wav_header(path: Path, file: BinaryIO) -> tuple[PcmFormat, int | None]:
    try:
        return read_wav_header(file.read(START_BYTES), file, path.stat().st_size)
    except WavInputError as error:
        raise TraceError(path, file.tell(), f"can't read this: {error}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class TraceWriter:
    """Stores what one source delivers; a context manager.

    Nothing is held back: a trace that was cut off by a kill lacks at most its last block.
    """

    def __init__(self, path: Path) -> None:
        # "x": a trace of a fault that comes once a month must not be overwritten. It is raw audio,
        # readable by the recording user alone.
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 -- a Path has no opener
        self.frames = 0
        """Number of frames written so far, without the lost ones."""

    def write(self, delivery: Delivery) -> None:
        """Append one delivery as it was received.

        A stream's end has no message of its own: the next header implies it.
        """
        match delivery:
            case StreamHeader():
                self._file.write(encode_stream_header(delivery))
            case Block():
                self._file.write(encode_block(delivery))
                self.frames += delivery.frames
            case StreamEnded():
                return
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
