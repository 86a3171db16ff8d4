"""Converts files and pipes of audio to block streams, and block streams to WAV or raw PCM.

Input is WAV, also from a pipe, raw PCM, or a block stream as it is; it may be endless. Both ways
once, forwards and in bounded pieces. A seekable WAV file gets its true length at the end, a pipe
the length that programs take for "up to the end".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, Protocol

from edgerec.audio import Block, StreamHeader, TrackName
from edgerec.wire.blocks import (
    SAMPLE_BYTES,
    device_name,
    encode_block,
    encode_block_header,
    encode_stream_header,
)
from edgerec.wire.wav import (
    MAX_BYTES,
    START_BYTES,
    PcmFormat,
    Readable,
    WavInputError,
    is_wav,
    read_wav_header,
    to_s16,
    wav_header,
)

BLOCK_MS: Final = 100
_READ_BYTES: Final = 1 << 16


class PcmInputError(Exception):
    """Input that can't be pushed, or only in part; what came before the error was pushed."""


def block_stream(
    file: Readable, track: TrackName, name: str, raw: PcmFormat | None
) -> Iterator[bytes]:
    """Yield a block stream without stamps, in pieces.

    Parameters
    ----------
    name
        Name of the file, for the stream's header.
    raw
        Format of a file of raw PCM; None: the file itself says what it is.

    Raises
    ------
    PcmInputError
        Before anything is yielded: it is not audio that can be pushed. Or at the end: it is cut
        off.
    """
    if raw is not None:
        yield from _blocks(file, track, name, raw, None)
        return
    start = file.read(START_BYTES)
    if is_wav(start):
        try:
            pcm_format, size = read_wav_header(start, file)
        except WavInputError as error:
            raise PcmInputError(f"{name}: {error}") from error
        yield from _blocks(file, track, name, pcm_format, size)
    elif start.startswith(b"{"):
        yield start
        while data := file.read(_READ_BYTES):
            yield data
    elif start:
        raise PcmInputError(
            f"{name}: neither a WAV file nor a block stream (begins with {start!r}); "
            "for raw PCM give --rate and --channels"
        )


def _blocks(
    file: Readable, track: TrackName, name: str, pcm_format: PcmFormat, size: int | None
) -> Iterator[bytes]:
    """Yield the header, then `size` bytes of the file as blocks; None: all of it."""
    header = StreamHeader(
        pcm_format.sample_rate, pcm_format.channels, track, device_name(name), "monotonic_raw"
    )
    yield encode_stream_header(header)
    frame_bytes = pcm_format.frame_bytes
    block_bytes = max(1, pcm_format.sample_rate * BLOCK_MS // 1000) * frame_bytes
    first_frame, left = 0, size
    while data := file.read(block_bytes if left is None else min(block_bytes, left)):
        frames, rest = divmod(len(data), frame_bytes)
        if frames:
            pcm = to_s16(data[: len(data) - rest], pcm_format.samples)
            yield encode_block_header(first_frame, frames, 0, 0, 0) + pcm
        first_frame += frames
        left = None if left is None else left - len(data)
        if rest:
            raise PcmInputError(f"{name}: ends inside a frame, {rest} bytes after the last one")
    if left:
        raise PcmInputError(f"{name}: cut off, {left} bytes are missing")


OutputForm = Literal["wav", "raw", "stream"]

_HEADER_BYTES: Final = 44
_FILL_FRAMES: Final = 16_384  # of silence at once


class PcmOutputError(Exception):
    """The stream's format changed in mid-file; everything up to the change has been written."""


class Writable(Protocol):
    """A file or pipe."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""
        ...

    def tell(self) -> int:
        """Return how many bytes are written."""
        ...

    def seek(self, offset: int, /) -> object:
        """Go to a byte of the file."""
        ...


class PcmOutput:
    """A file or pipe that a block stream is written into.

    Parameters
    ----------
    seekable
        Whether `file` is at byte 0 and its header can be rewritten when its length is known.
    """

    def __init__(self, file: Writable, form: OutputForm, *, seekable: bool) -> None:
        self._file = file
        self._form = form
        self._seekable = seekable
        self._header: StreamHeader | None = None
        self._expected: int | None = None  # first_frame of the next block, if nothing was lost
        self.frames = 0
        """Number of frames written, lost ones included."""

    @property
    def seconds(self) -> float:
        """Length of what is written."""
        return self.frames / self._header.sample_rate if self._header else 0.0

    def write(self, message: StreamHeader | Block) -> None:
        """Write a message's audio; counted losses within a stream are silence.

        Raises
        ------
        PcmOutputError
            A new stream has another rate or number of channels.
        """
        if isinstance(message, StreamHeader):
            self._open(message)
            return
        if self._form == "stream":
            self._file.write(encode_block(message))
        else:
            self._fill(message.first_frame)
            self._file.write(message.pcm)
        self.frames += message.frames
        self._expected = message.first_frame + message.frames

    def finish(self) -> None:
        """Correct the length in the header, if the file is seekable.

        Works also after a signal's exception ended `write` anywhere: the file's own size is used.
        """
        if self._form == "wav" and self._seekable and self._header is not None:
            frame_bytes = self._header.channels * SAMPLE_BYTES
            data_bytes = (self._file.tell() - _HEADER_BYTES) // frame_bytes * frame_bytes
            if 0 <= data_bytes <= MAX_BYTES - _HEADER_BYTES:
                self._file.seek(0)
                self._file.write(_wav_header(self._header, data_bytes))

    def _open(self, header: StreamHeader) -> None:
        before, self._header, self._expected = self._header, header, None
        if self._form == "stream":
            self._file.write(encode_stream_header(header))
        elif before is None:
            if self._form == "wav":
                self._file.write(_wav_header(header, MAX_BYTES))
        elif _shape(before) != _shape(header):
            self._header = before
            raise PcmOutputError(
                f"the device continues with {header.sample_rate} Hz and {header.channels} channels "
                f"after {before.sample_rate} Hz and {before.channels}: begin a new file"
            )

    def _fill(self, first_frame: int) -> None:
        if self._header is None or self._expected is None:
            return
        missing = first_frame - self._expected
        self.frames += max(missing, 0)
        while missing > 0:
            piece = min(missing, _FILL_FRAMES)
            self._file.write(bytes(piece * self._header.channels * SAMPLE_BYTES))
            missing -= piece


def _wav_header(header: StreamHeader, data_bytes: int) -> bytes:
    return wav_header(header.sample_rate, header.channels, data_bytes)


def _shape(header: StreamHeader) -> tuple[int, int]:
    return header.sample_rate, header.channels
