"""What audio does a file or a pipe hold, as a block stream to be pushed into a feed?

WAV files and pipes that carry one, raw PCM, and block streams as they are. Read once, forwards and
in bounded pieces: what is to be pushed may have no end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from edgerec.audio import StreamHeader, TrackName
from edgerec.capture.trace import to_s16
from edgerec.capture.wire import (
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    SAMPLE_BYTES,
    encode_block_header,
    encode_stream_header,
)

BLOCK_MS: Final = 100
_READ_BYTES: Final = 1 << 16
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_WIDTHS: Final = (2, 3, 4)  # bytes per sample
_MAX_HEADER_BYTES: Final = 1 << 20  # what stands before the audio: tags, at most a picture
_ENDLESS_BYTES: Final = 0x7FFF_F000  # a recorder that writes into a pipe promises this or more


class PcmInputError(Exception):
    """What was given can't be pushed, or not to its end; what came before that was."""


class Readable(Protocol):
    """A file or pipe."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """How samples of little-endian integers follow on each other."""

    sample_rate: int
    channels: int
    width: int = SAMPLE_BYTES
    """Bytes per sample."""


def block_stream(
    file: Readable, track: TrackName, name: str, raw: PcmFormat | None
) -> Iterator[bytes]:
    """Yield a block stream without stamps, in pieces.

    Parameters
    ----------
    name
        Of the file, for the stream's header.
    raw
        The file is PCM of this format and nothing else; None: it says itself what it is.

    Raises
    ------
    PcmInputError
        Before anything is yielded: it is nothing that can be pushed. Or behind all that could be:
        it is cut off.
    """
    if raw is not None:
        yield from _blocks(file, track, name, raw, None)
        return
    start = file.read(4)
    if start == b"RIFF":
        pcm_format, size = _wav_header(file)
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
    header = StreamHeader(pcm_format.sample_rate, pcm_format.channels, track, name, "monotonic_raw")
    yield encode_stream_header(header)
    frame_bytes = pcm_format.channels * pcm_format.width
    block_bytes = max(1, pcm_format.sample_rate * BLOCK_MS // 1000) * frame_bytes
    first_frame, left = 0, size
    while data := file.read(block_bytes if left is None else min(block_bytes, left)):
        frames, rest = divmod(len(data), frame_bytes)
        if frames:
            pcm = to_s16(data[: len(data) - rest], pcm_format.width)
            yield encode_block_header(first_frame, frames, 0, 0, 0) + pcm
        first_frame += frames
        left = None if left is None else left - len(data)
        if rest:
            raise PcmInputError(f"{name}: ends inside a frame, {rest} bytes after the last one")
    if left:
        raise PcmInputError(f"{name}: cut off, {left} bytes are missing")


def _wav_header(file: Readable) -> tuple[PcmFormat, int | None]:
    """Read up to the audio; return its format and size in bytes (None: up to the end)."""
    if file.read(8)[4:] != b"WAVE":
        raise PcmInputError("a RIFF file that is no WAV")
    pcm_format = None
    while len(chunk := file.read(_CHUNK.size)) == _CHUNK.size:
        kind, size = _CHUNK.unpack(chunk)
        if kind == b"data" and pcm_format is not None:
            return pcm_format, size if 0 < size < _ENDLESS_BYTES else None
        if size > _MAX_HEADER_BYTES:
            break
        body = file.read(size + size % 2)
        if kind == b"fmt ":
            pcm_format = _wav_format(body)
    raise PcmInputError("a WAV file without audio in it")


def _wav_format(body: bytes) -> PcmFormat:
    if len(body) < _FORMAT.size:
        raise PcmInputError("a WAV file whose format is cut off")
    kind, channels, rate, _, _, bits = _FORMAT.unpack_from(body)
    if kind == _EXTENSIBLE and len(body) >= 26:
        kind = int.from_bytes(body[24:26], "little")  # the first bytes of the sub-format's GUID
    known = kind == _PCM and bits % 8 == 0 and bits // 8 in _WIDTHS
    if not known or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ or not 1 <= channels <= MAX_CHANNELS:
        raise PcmInputError(
            f"a WAV of format {kind}, {bits} bits, {channels} channels at {rate} Hz; "
            "try ffmpeg -i FILE -c:a pcm_s16le x.wav"
        )
    return PcmFormat(rate, channels, bits // 8)
