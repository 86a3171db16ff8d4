"""Reads audio from a file or a pipe as a block stream to be pushed into a feed.

WAV files and pipes that carry one, raw PCM, and block streams as they are. Read once, forwards and
in bounded pieces: the input may be endless.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgerec.audio import StreamHeader, TrackName
from edgerec.wire.blocks import device_name, encode_block_header, encode_stream_header
from edgerec.wire.wav import (
    START_BYTES,
    PcmFormat,
    Readable,
    WavInputError,
    is_wav,
    read_wav_header,
    to_s16,
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
