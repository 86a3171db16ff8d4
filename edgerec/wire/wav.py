"""The header of a WAV file or stream, where the audio ends, and its samples as 16-bit ones.

Headers of 16-bit PCM are made, for recordings too. Every form of PCM that recorders and audio
programs write is either read or refused with a reason. Read once and forwards, so that a pipe will
do. Integers keep their upper 16 bits (what goes is 96 dB down); floats are rounded, clipped at full
scale, and 0 where they are not numbers. The standard library's `wave` refuses the extensible format
in Python 3.11, and reads samples that are narrower than their container (`arecord -f S24_LE`) as
noise.

Formats: Microsoft, "Multimedia Programming Interface and Data Specifications 1.0" and "Multiple
Channel Audio Data and WAVE Files"; EBU Tech 3306 (RF64); ITU-R BS.2088 (BW64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, Protocol

import numpy as np

from edgerec.wire.blocks import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, SAMPLE_BYTES

_FULL_SCALE: Final = 1 << 15
_SIGN_BIT: Final = bytes(byte ^ 0x80 for byte in range(256))


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """Storage format of one little-endian sample."""

    kind: Literal["signed", "unsigned", "float"]
    """Kind of number; unsigned samples have one byte, floats four or eight."""
    width: int
    """Number of bytes from one sample to the next."""
    top: int
    """Number of bytes up to the end of the most significant one; those after it are ignored."""


S16: Final = SampleFormat("signed", 2, 2)
U8: Final = SampleFormat("unsigned", 1, 1)
S24_IN_LOW_BYTES: Final = SampleFormat("signed", 4, 3)
"""ALSA's S24_LE: the fourth byte is the sign, or whatever the driver left there."""


def to_s16(data: bytes, samples: SampleFormat) -> bytes:
    """Convert whole samples to little-endian 16-bit ones."""
    if samples == S16:
        return data
    if samples.kind == "float":
        values = np.clip(np.nan_to_num(np.frombuffer(data, f"<f{samples.width}")), -1, 1)
        scaled = np.minimum(np.rint(values * _FULL_SCALE), _FULL_SCALE - 1)
        return bytes(scaled.astype("<i2"))
    pcm = bytearray(len(data) // samples.width * SAMPLE_BYTES)
    if samples.kind == "unsigned":
        pcm[1::2] = data.translate(_SIGN_BIT)
    else:
        pcm[0::2] = data[samples.top - 2 :: samples.width]
        pcm[1::2] = data[samples.top - 1 :: samples.width]
    return bytes(pcm)


START_BYTES: Final = 4
"""Number of bytes that identify a WAV file."""
MAX_BYTES: Final = 0xFFFF_FFFF
"""Largest length that a header can state; of the audio, as ffmpeg writes into a pipe: endless."""

_RIFF: Final = b"RIFF"
_LONG: Final = (b"RF64", b"BW64")  # the lengths are in a chunk of their own
_REFUSED: Final = {
    b"riff": "a Wave64 file, which is not a WAV file",
    b"RIFX": "a big-endian WAV file",
}
_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_LENGTHS: Final = struct.Struct("<QQ")  # at the start of "ds64": of the file, of the audio
_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_CODECS: Final = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 85: "MP3"}
_SUB_FORMATS: Final = (  # what follows the two bytes of the format in its GUID
    bytes.fromhex("000000001000800000aa00389b71"),
    bytes.fromhex("00002107d3118644c8c1ca000000"),  # Ambisonic B-format
)
_KNOWN_KINDS: Final = (b"data", b"fmt ", b"fact", b"LIST", b"bext", b"JUNK")
_PASSED_OVER_BYTES: Final = 1 << 16  # skipped at once, of what comes before the audio
_MAX_FORMAT_BYTES: Final = 1 << 10
# Programs that write into a pipe promise about 2 or 4 GiB: sox 0x7FFFF000, arecord 0x80000000.
_PLACEHOLDERS: Final = (range(0x7FFF_E000, 0x8000_1000), range(0xFFFF_E000, 1 << 32))
_CONVERT: Final = "try ffmpeg -i FILE -c:a pcm_s16le x.wav"


class WavInputError(Exception):
    """A file that begins like a WAV file, but can't be read as one."""


class Readable(Protocol):
    """A file or pipe."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """Layout of a file's samples."""

    sample_rate: int
    channels: int
    samples: SampleFormat = S16

    @property
    def frame_bytes(self) -> int:
        """Size of one frame, a sample of each channel, in bytes."""
        return self.channels * self.samples.width


def wav_header(sample_rate: int, channels: int, data_bytes: int, chunks: bytes = b"") -> bytes:
    """Return the bytes in front of 16-bit PCM.

    Parameters
    ----------
    data_bytes
        Size of the audio; `MAX_BYTES`: it ends with the stream.
    chunks
        Whole chunks to put before the audio.

    Raises
    ------
    struct.error
        A number does not fit into the header.
    """
    frame_bytes = SAMPLE_BYTES * channels
    rate_bytes = sample_rate * frame_bytes
    pcm = _FORMAT.pack(_PCM, channels, sample_rate, rate_bytes, frame_bytes, 8 * SAMPLE_BYTES)
    rest = b"WAVE" + wav_chunk(b"fmt ", pcm) + chunks + _CHUNK.pack(b"data", data_bytes)
    riff_bytes = MAX_BYTES if data_bytes == MAX_BYTES else len(rest) + data_bytes
    return _CHUNK.pack(_RIFF, riff_bytes) + rest


def wav_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk for `wav_header`, whose content has an even length."""
    return _CHUNK.pack(kind, len(content)) + content


def is_wav(start: bytes) -> bool:
    """Whether a file that starts like this is a WAV file, or a related format that is refused."""
    return start == _RIFF or start in _LONG or start in _REFUSED


def read_wav_header(
    start: bytes, file: Readable, file_bytes: int | None = None
) -> tuple[PcmFormat, int | None]:
    """Read up to the audio.

    Parameters
    ----------
    start
        The first `START_BYTES` of the file.
    file
        The file, positioned after those.
    file_bytes
        Length of the whole file, where it is known.

    Returns
    -------
    The format of the audio, and its size in bytes; None: the writer could not know it, and the
    audio ends with the file.

    Raises
    ------
    WavInputError
        It holds no audio, it is damaged, or a device would not deliver such audio.
    """
    if start in _REFUSED:
        raise WavInputError(f"{_REFUSED[start]}; {_CONVERT}")
    return _Header(start, file).read(file_bytes)


class _Header:
    """The chunks before the audio, as they are read."""

    def __init__(self, start: bytes, file: Readable) -> None:
        self._file = file
        self._long = start in _LONG
        self._position = len(start)

    def read(self, file_bytes: int | None) -> tuple[PcmFormat, int | None]:
        riff_bytes, wave = struct.unpack("<I4s", self._take(8).ljust(8))
        if wave != b"WAVE":
            raise WavInputError("a RIFF file, but not a WAVE file")
        audio_bytes = 0
        pcm_format = None
        carried = b""
        while len(chunk := carried + self._take(_CHUNK.size - len(carried))) == _CHUNK.size:
            kind, size = _CHUNK.unpack(chunk)
            if kind == b"data":
                if pcm_format is None:
                    raise WavInputError("a WAV file without a format before its audio")
                if self._long and size == MAX_BYTES:
                    return pcm_format, audio_bytes or None
                return pcm_format, self._believed(size, riff_bytes, file_bytes)
            if not all(0x20 <= byte < 0x7F for byte in kind):
                self._damaged(f"no chunk begins there ({kind!r})")
            if kind == b"fmt " and size <= _MAX_FORMAT_BYTES:
                pcm_format = _pcm_format(self._take(size))
            elif kind == b"ds64" and self._long and _LENGTHS.size <= size <= _MAX_FORMAT_BYTES:
                _, audio_bytes = _LENGTHS.unpack_from(self._take(size).ljust(size, b"\0"))
            else:
                self._pass_over(kind, size)
            carried = self._behind_padding() if size % 2 else b""
        raise WavInputError("a WAV file without audio in it")

    def _believed(self, size: int, riff_bytes: int, file_bytes: int | None) -> int | None:
        """Return the size of the audio; None where the given one only means that it was unknown."""
        if size == 0:
            # Where other chunks follow there is none. Else it was never filled in.
            follows = self._position - 8 < riff_bytes < _PLACEHOLDERS[0].start
            return 0 if follows else None
        fits = file_bytes is not None and self._position + size <= file_bytes
        placeholder = any(size in one for one in _PLACEHOLDERS)
        return None if placeholder and not fits else size

    def _behind_padding(self) -> bytes:
        """Take the byte that fills up a chunk of odd length, which some programs leave out.

        Returns
        -------
        What was taken of the next chunk.
        """
        taken = self._take(5)
        padded = taken[:1] == b"\0" or taken[1:] in _KNOWN_KINDS
        return taken[1:] if padded else taken

    def _pass_over(self, kind: bytes, size: int) -> None:
        """Read past tags or a picture, however long."""
        left = size
        while left and (data := self._take(min(left, _PASSED_OVER_BYTES))):
            left -= len(data)
        if left:
            name = kind.decode("ascii")
            self._damaged(f"without audio, as its chunk {name!r} of {size} bytes does not end")

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        return data

    def _damaged(self, problem: str) -> NoReturn:
        raise WavInputError(f"a WAV file that is damaged before byte {self._position}: {problem}")


def _pcm_format(body: bytes) -> PcmFormat:
    if len(body) < _FORMAT.size:
        raise WavInputError("a WAV file whose format is cut off")
    kind, channels, rate, _, frame_bytes, bits = _FORMAT.unpack_from(body)
    extensible = kind == _EXTENSIBLE
    if extensible:
        if len(body) < 40:
            raise WavInputError("a WAV file whose format is cut off")
        kind = int.from_bytes(body[24:26], "little") if body[26:40] in _SUB_FORMATS else 0
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ or not 1 <= channels <= MAX_CHANNELS:
        raise WavInputError(f"a WAV file of {channels} channels at {rate} Hz; {_CONVERT}")
    width, rest = divmod(frame_bytes, channels)
    samples = None if rest else _sample_format(kind, bits, width, extensible=extensible)
    if samples is None:
        raise WavInputError(
            f"a WAV file of {_CODECS.get(kind, f'format {kind}')}, {bits} bits, "
            f"{channels} channels in {frame_bytes} bytes; {_CONVERT}"
        )
    return PcmFormat(rate, channels, samples)


def _sample_format(kind: int, bits: int, width: int, *, extensible: bool) -> SampleFormat | None:
    """Return the format of samples of `bits` bits in `width` bytes; None: not one that is read."""
    whole = bits == 8 * width if extensible else 0 <= 8 * width - bits < 8
    if kind == _FLOAT and bits == 8 * width and width in (4, 8):
        return SampleFormat("float", width, width)
    if kind == _PCM and whole and width in (2, 3, 4):  # fewer bits are at the upper end
        return SampleFormat("signed", width, width)
    if kind == _PCM and whole and width == 1:
        return U8
    if kind == _PCM and (bits, width) == (24, 4) and not extensible:
        return S24_IN_LOW_BYTES
    return None
