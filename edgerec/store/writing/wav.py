"""A WAV writer whose files stay readable while they are written, and after a kill.

The writer updates the header at every sync, so that any program reads a file in progress up to the
last sync. There is no buffer here: what is written goes to the kernel at once, so that a killed
process loses only what it never wrote.

The header is that of `wire.wav`, with the `bext` chunk of `store.writing.tags` before the audio.
The chunk is blank until the file is published, and has a fixed length, so that the audio never
moves.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.store.disk import create, disk_step, make_writable, write_all
from edgerec.store.writing.tags import BEXT_BYTES, BLANK_BEXT
from edgerec.wire.blocks import SAMPLE_BYTES
from edgerec.wire.wav import MAX_BYTES, wav_chunk, wav_header

HEADER_BYTES: Final = len(wav_header(1, 1, 0, wav_chunk(b"bext", BLANK_BEXT)))  # 704

_MAX_DATA_BYTES: Final = MAX_BYTES - (HEADER_BYTES - 8)  # RIFF's length counts all but its own 8
_BEXT_OFFSET: Final = HEADER_BYTES - 8 - BEXT_BYTES
_NUMBERS: Final = struct.Struct(f"<22xHI{HEADER_BYTES - 32}xI")  # channels, rate, data_bytes


@dataclass(frozen=True, slots=True)
class WavHeader:
    """The content of a 16-bit PCM WAV header."""

    sample_rate: int
    channels: int
    data_bytes: int
    bext: bytes = BLANK_BEXT
    """Content of the `bext` chunk, `BEXT_BYTES` long."""

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self.data_bytes // (SAMPLE_BYTES * self.channels)

    def encode(self) -> bytes:
        """Return the bytes in front of the audio."""
        bext = wav_chunk(b"bext", self.bext)
        return wav_header(self.sample_rate, self.channels, self.data_bytes, bext)


def parse_wav_header(data: bytes) -> WavHeader:
    """Read back `WavHeader.encode`.

    Raises
    ------
    ValueError
        The bytes are not a header that this writer makes; its `bext` chunk may hold anything.
    """
    if len(data) < HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes are not a WAV header")
    channels, sample_rate, data_bytes = _NUMBERS.unpack_from(data)
    bext = data[_BEXT_OFFSET : _BEXT_OFFSET + BEXT_BYTES]
    header = WavHeader(sample_rate, channels, data_bytes, bext)
    try:
        whole = data_bytes <= _MAX_DATA_BYTES and header.encode() == data[:HEADER_BYTES]
    except struct.error:  # numbers whose products fit into no header
        whole = False
    if not whole:
        raise ValueError("not the header of a 16-bit PCM WAV file of edgerec")
    return header


def max_wav_frames(channels: int) -> int:
    """Return how many frames fit into a WAV file, whose lengths are 32-bit numbers."""
    return _MAX_DATA_BYTES // (SAMPLE_BYTES * channels)


class WavWriter:
    """A WAV file in progress; not for more than one thread.

    Parameters
    ----------
    path
        Must not exist yet.

    Raises
    ------
    StoreError
        From every method, when the disk fails. The file can't be relied upon from then on, and
        must not be synced again: `abandon` it.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        self.path = path
        self._header = WavHeader(sample_rate, channels, 0)
        self._file = create(path, self._header.encode())

    @property
    def frames(self) -> int:
        """Number of frames written."""
        return self._header.frames

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append audio: int16, shape (frames, channels)."""
        samples = np.ascontiguousarray(pcm, dtype="<i2")
        with disk_step("writing", self.path):
            write_all(self._file, samples.data.cast("B"))
        header = self._header
        self._header = WavHeader(
            header.sample_rate, header.channels, header.data_bytes + samples.nbytes
        )

    def sync(self) -> None:
        """Make what was written durable, and update the header to its length."""
        self._write_header()
        with disk_step("syncing", self.path):
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Update the header and close the file; publishing makes it durable."""
        self._write_header()
        with disk_step("closing", self.path):
            self._file.close()

    def abandon(self) -> None:
        """Close a file that has failed, as it is; recovery reads what the disk really holds."""
        self._file.close()

    def _write_header(self) -> None:
        with disk_step("writing the header of", self.path):
            os.pwrite(self._file.fileno(), self._header.encode(), 0)


def repair_wav(path: Path, sample_rate: int, channels: int, frames: int) -> None:
    """Cut a file that was left in progress to its first frames; publishing makes it durable."""
    header = WavHeader(sample_rate, channels, frames * SAMPLE_BYTES * channels)
    make_writable(path)
    with disk_step("repairing", path), path.open("r+b", buffering=0) as file:
        os.ftruncate(file.fileno(), HEADER_BYTES + header.data_bytes)
        os.pwrite(file.fileno(), header.encode(), 0)


def tag_wav(path: Path, bext: bytes) -> None:
    """Fill in the `bext` chunk of a finished file; publishing makes it durable."""
    make_writable(path)
    with disk_step("tagging", path), path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), bext, _BEXT_OFFSET)
