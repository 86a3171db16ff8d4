"""Encodes a recording to FLAC or Opus while it is written.

The encoder runs beside the WAV file of the same audio, a few hundred milliseconds at a time: when
a chunk is full there is nothing left to encode. Its file is made durable only when it is whole;
until then the audio survives a crash in the WAV file.

libsndfile, through soundfile, is loaded when the first such file is opened. FLAC keeps every
sample; Opus keeps their number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgerec.store.disk import StoreError, create, disk_step, make_writable, write_all
from edgerec.store.records.naming import Format
from edgerec.store.writing.tags import Tags

if TYPE_CHECKING:
    from soundfile import SoundFile

_LIBSNDFILE: Final[Mapping[Format, tuple[str, str]]] = {
    "flac": ("FLAC", "PCM_16"),
    "opus": ("OGG", "OPUS"),
}
_HEAD_BYTES: Final = 4096  # holds the comments, and is one block of the disk, patched in one write
_DATE: Final = re.compile(rb"(?i:date)=([0-9TZ:.-]{27})")

_OGG_PAGE: Final = b"OggS"
_OGG_CRC: Final = slice(22, 26)  # RFC 3533, section 6
_OGG_SEGMENTS: Final = 26
_OGG_POLYNOMIAL: Final = 0x04C11DB7


class CompressedWriter:
    """A FLAC or Opus file in progress; not for more than one thread.

    Parameters
    ----------
    path
        Must not exist yet.
    tags
        The tags as known now; `tag_date` corrects the time later.

    Raises
    ------
    StoreError
        From every method, when the disk fails; `abandon` it then.
    """

    def __init__(self, path: Path, form: Format, tags: Tags) -> None:
        import soundfile  # not before it is needed: 3 MB

        self.path = path
        self._sink = _Sink()
        container, codec = _LIBSNDFILE[form]
        self._encoder: SoundFile = soundfile.SoundFile(
            self._sink, "w", tags.sample_rate, len(tags.channels), subtype=codec, format=container
        )
        for name, text in tags.comments().items():
            setattr(self._encoder, name, text)
        self._file = create(path, b"")

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append audio: int16, shape (frames, channels)."""
        self._encoder.buffer_write(np.ascontiguousarray(pcm), dtype="int16")
        self._drain()

    def close(self) -> None:
        """Write what the encoder still holds, and close the file; it is not durable yet."""
        self._encoder.close()
        self._drain()
        with disk_step("closing", self.path):
            self._file.close()

    def abandon(self) -> None:
        """Close a file that will not be completed."""
        self._encoder.close()
        self._file.close()

    def _drain(self) -> None:
        with disk_step("writing", self.path):
            for offset, data in self._sink.take():
                os.lseek(self._file.fileno(), offset, os.SEEK_SET)
                write_all(self._file, data)


class _Sink:
    """Buffers what libsndfile writes until its call returns.

    libsndfile calls this from C, where a disk error could only be swallowed.
    """

    def __init__(self) -> None:
        self._writes: list[tuple[int, bytes]] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        """Take data for the current position."""
        self._writes.append((self._position, data))
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move: FLAC's totals go to the front when the file is closed.

        libsndfile asks for the end only to learn a file's length, which writing does not need.
        """
        self._position = offset if whence == os.SEEK_SET else self._position + offset
        return self._position

    def tell(self) -> int:
        """Return the current position."""
        return self._position

    def take(self) -> list[tuple[int, bytes]]:
        """Return what was written since the last time, each with its offset."""
        writes, self._writes = self._writes, []
        return writes


@dataclass(frozen=True, slots=True)
class CompressedHeader:
    """The contents of a FLAC or Opus file according to its header."""

    sample_rate: int
    channels: int
    frames: int


def read_compressed_header(path: Path) -> CompressedHeader:
    """Read what a finished file holds.

    Raises
    ------
    StoreError
        It is neither FLAC nor Opus, or can't be read.
    """
    import soundfile

    try:
        info = soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise StoreError("reading", path, error.error_string) from error
    return CompressedHeader(info.samplerate, info.channels, info.frames)


def tag_date(path: Path, date: str) -> None:
    """Set the date among the comments of a finished file; publishing makes it durable.

    Parameters
    ----------
    date
        `Tags.date`: as long as the one that is there.
    """
    make_writable(path)
    with disk_step("tagging", path), path.open("r+b", buffering=0) as file:
        head = bytearray(file.read(_HEAD_BYTES))
        found = _DATE.search(head)
        if found is None:
            raise StoreError("tagging", path, "it has no date among its comments")
        place = found.start(1)
        head[place : place + len(date)] = date.encode("ascii")
        if head.startswith(_OGG_PAGE):
            _seal_page(head, head.rfind(_OGG_PAGE, 0, place))
        os.pwrite(file.fileno(), head, 0)


def _seal_page(head: bytearray, start: int) -> None:
    """Make the checksum of the Ogg page at `start` right again."""
    lacing = start + _OGG_SEGMENTS + 1
    segments = head[lacing : lacing + head[start + _OGG_SEGMENTS]]
    page = head[start : lacing + len(segments) + sum(segments)]
    page[_OGG_CRC] = bytes(4)
    page[_OGG_CRC] = _ogg_crc(page).to_bytes(4, "little")
    head[start : start + len(page)] = page


def _ogg_crc(page: bytes | bytearray) -> int:
    """Return the CRC-32 of RFC 3533: zlib's polynomial, but neither reflected nor inverted."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (_OGG_POLYNOMIAL if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    return crc
