"""Keeps published files readable after a sync job, or a hook, has taken them away.

A file is opened when it is published, and an open file stays readable without a name. At most 128
files are kept open; the oldest is closed first.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from edgerec.store.publish import FilePublished
from edgerec.store.writing.wav import HEADER_BYTES, parse_wav_header

MAX_HELD: Final = 128
"""Maximum number of open files: with sidecars 256 descriptors, of a process's usual 1024."""
_PIECE_FRAMES: Final = 65_536


class AudioGoneError(Exception):
    """A file can't be read any more: it was taken away, and too many others came after it."""


class HeldFile:
    """A published file and its sidecar, open until nobody refers to it any more; for any thread."""

    def __init__(self, published: FilePublished) -> None:
        self._paths = (published.path, published.sidecar)
        self._open: tuple[_Descriptor | None, ...] = tuple(map(_opened, self._paths))

    def sidecar(self) -> Mapping[str, object]:
        """Return what the sidecar says.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        file = self._file(1)
        fields: Mapping[str, object] = json.loads(
            os.pread(file.number, os.fstat(file.number).st_size, 0)
        )
        return fields

    def blocks(self, frames: int = _PIECE_FRAMES) -> Iterator[bytes]:
        """Yield the audio in pieces of `frames` frames: int16 little-endian, interleaved.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        file = self._file(0)  # stays open until the last piece, even if `close` is called meanwhile
        read = _wav_blocks if self._paths[0].suffix == ".wav" else _decoded_blocks
        yield from read(file.number, frames)

    def close(self) -> None:
        """Close it, when nobody reads it; a file that still has its name is opened to be read."""
        self._open = (None, None)

    def _file(self, which: int) -> _Descriptor:
        file = self._open[which] or _opened(self._paths[which])
        if file is None:
            raise AudioGoneError(
                f"{self._paths[which]}: it was taken away, and more than {MAX_HELD} files were "
                "published since; read what you need when the event comes"
            )
        return file


class HeldFiles:
    """The published files that are kept open; for any thread.

    `hold` is called when a file is published, `release` when its event is made.
    """

    def __init__(self, most: int = MAX_HELD) -> None:
        self._most = most
        self._lock = threading.Lock()  # held for a few instructions, and to close descriptors
        self._open: deque[weakref.ref[HeldFile]] = deque()
        self._awaited: dict[Path, HeldFile] = {}

    def hold(self, published: FilePublished) -> None:
        """Open a file that has just been published; a session's record has no audio."""
        if published.kind == "session":
            return
        file = HeldFile(published)
        with self._lock:
            self._awaited[published.path] = file
            if len(self._awaited) > self._most:  # events were dropped, or handlers are slow
                del self._awaited[next(iter(self._awaited))]
            self._open = deque(ref for ref in self._open if ref() is not None)
            self._open.append(weakref.ref(file))
            if len(self._open) > self._most and (oldest := self._open.popleft()()) is not None:
                oldest.close()

    def release(self, published: FilePublished) -> HeldFile:
        """Return a file, which stays open as long as the caller refers to it."""
        with self._lock:
            file = self._awaited.pop(published.path, None)
        if file is None:  # too many came after it
            file = HeldFile(published)
            file.close()
        return file


class _Descriptor:
    """An open file, closed when nobody refers to it any more."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        """Close it."""
        os.close(self.number)


def _opened(path: Path) -> _Descriptor | None:
    try:
        return _Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:  # taken already, or no descriptor left: reading it will say so
        return None


def _wav_blocks(descriptor: int, frames: int) -> Iterator[bytes]:
    header = parse_wav_header(os.pread(descriptor, HEADER_BYTES, 0))
    offset, stop = HEADER_BYTES, HEADER_BYTES + header.data_bytes
    while offset < stop:
        piece = os.pread(descriptor, min(frames * header.channels * 2, stop - offset), offset)
        if not piece:
            return
        yield piece
        offset += len(piece)


def _decoded_blocks(descriptor: int, frames: int) -> Iterator[bytes]:
    import soundfile  # 10 MB, only for programs that record so and read it back

    # Opened again: a dup would share its position with other readers.
    with Path(f"/proc/self/fd/{descriptor}").open("rb") as file, soundfile.SoundFile(file) as audio:
        for block in audio.blocks(frames, dtype="int16", always_2d=True):
            yield block.astype("<i2").tobytes()
