"""What does a WAV file say of its samples, and how do they become 16-bit ones?

Read once, forwards: a pipe may carry it as well. Without the standard library's `wave`, which in
Python 3.11 refuses the extensible format that most programs write for 24 bits or many channels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

from edgerec.capture.wire import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_BYTES

_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_WIDTHS: Final = (2, 3, 4)  # bytes per sample; the 8-bit ones are unsigned, and no recording
_PASSED_OVER_BYTES: Final = 1 << 16  # at once, of what stands before the audio
_MAX_FORMAT_BYTES: Final = 1 << 10
_ENDLESS_BYTES: Final = 0x7FFF_F000  # a recorder that writes into a pipe promises this or more


class WavInputError(Exception):
    """A file that begins as a WAV file does, and is none that can be recorded."""


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

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * self.width


def read_wav_header(file: Readable) -> tuple[PcmFormat, int | None]:
    """Read up to the audio.

    Parameters
    ----------
    file
        Behind the "RIFF" that it begins with.

    Returns
    -------
    Its format, and its size in bytes; None: whoever wrote it could not know, it ends with the file.

    Raises
    ------
    WavInputError
        There is no audio in it, or none that a device would deliver.
    """
    if file.read(8)[4:] != b"WAVE":
        raise WavInputError("a RIFF file that is no WAV")
    pcm_format = None
    while len(chunk := file.read(_CHUNK.size)) == _CHUNK.size:
        kind, size = _CHUNK.unpack(chunk)
        if kind == b"data" and pcm_format is not None:
            return pcm_format, size if 0 < size < _ENDLESS_BYTES else None
        if kind == b"fmt " and size <= _MAX_FORMAT_BYTES:
            pcm_format = _wav_format(file.read(size + size % 2))
        else:
            _pass_over(file, size + size % 2)
    raise WavInputError("a WAV file without audio in it")


def _pass_over(file: Readable, size: int) -> None:
    """Read on behind tags or a picture, of whatever length they say they are."""
    while size and (data := file.read(min(size, _PASSED_OVER_BYTES))):
        size -= len(data)


def _wav_format(body: bytes) -> PcmFormat:
    if len(body) < _FORMAT.size:
        raise WavInputError("a WAV file whose format is cut off")
    kind, channels, rate, _, _, bits = _FORMAT.unpack_from(body)
    if kind == _EXTENSIBLE and len(body) >= 26:
        kind = int.from_bytes(body[24:26], "little")  # the first bytes of the sub-format's GUID
    known = kind == _PCM and bits % 8 == 0 and bits // 8 in _WIDTHS
    if not known or not MIN_RATE_HZ <= rate <= MAX_RATE_HZ or not 1 <= channels <= MAX_CHANNELS:
        raise WavInputError(
            f"a WAV of format {kind}, {bits} bits, {channels} channels at {rate} Hz; "
            "try ffmpeg -i FILE -c:a pcm_s16le x.wav"
        )
    return PcmFormat(rate, channels, bits // 8)


def to_s16(data: bytes, width: int) -> bytes:
    """Keep the upper 16 bits of each little-endian sample; what goes is 96 dB down.

    Parameters
    ----------
    width
        Bytes per sample: 2, 3 or 4.
    """
    if width == SAMPLE_BYTES:
        return data
    pcm = bytearray(len(data) // width * SAMPLE_BYTES)
    pcm[0::2] = data[width - 2 :: width]
    pcm[1::2] = data[width - 1 :: width]
    return bytes(pcm)
