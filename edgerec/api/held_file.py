"""Keeps published files readable after a sync job, or a hook, has taken them away.

A file is opened when it is published, and an open file stays readable without a name. At most 128
files are kept open; the oldest is closed first.
"""

from __future__ import annotations

import contextlib
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
    """A published file and its sidecar, open; for any thread.

    Closed when nobody refers to it any more.
    """

    def __init__(self, path: Path, sidecar: Path) -> None:
        self._paths = (path, sidecar)
        self._lock = threading.Lock()
        self._descriptors: tuple[int | None, int | None] = (_opened(path), _opened(sidecar))

    def sidecar(self) -> Mapping[str, object]:
        """Return what the sidecar says.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        with self._file(1) as descriptor:
            data = b""
            while piece := os.pread(descriptor, 1 << 20, len(data)):
                data += piece
        fields: Mapping[str, object] = json.loads(data)
        return fields

    def blocks(self, frames: int = _PIECE_FRAMES) -> Iterator[bytes]:
        """Yield the audio in pieces of `frames` frames: int16 little-endian, interleaved.

        Raises
        ------
        AudioGoneError
            It can't be read any more.
        """
        with self._file(0) as descriptor:
            if self._paths[0].suffix == ".wav":
                yield from _wav_blocks(descriptor, frames)
            else:
                yield from _decoded_blocks(descriptor, frames)

    def close(self) -> None:
        """Close it; a file that still has its name can be read nevertheless."""
        with self._lock:
            descriptors, self._descriptors = self._descriptors, (None, None)
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)

    def __del__(self) -> None:
        """Close it, when the last event that refers to it is forgotten."""
        self.close()

    @contextlib.contextmanager
    def _file(self, which: int) -> Iterator[int]:
        """Yield a descriptor that stays open meanwhile, even if the file is closed."""
        with self._lock:
            held = self._descriptors[which]
            descriptor = None if held is None else os.dup(held)
        if descriptor is None:
            descriptor = _opened(self._paths[which])
        if descriptor is None:
            raise AudioGoneError(
                f"{self._paths[which]}: it was taken away, and more than {MAX_HELD} files were "
                "published since; read what you need when the event comes"
            )
        try:
            yield descriptor
        finally:
            os.close(descriptor)


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
        file = HeldFile(published.path, published.sidecar)
        closing = []
        with self._lock:
            self._awaited[published.path] = file
            self._open = deque(ref for ref in self._open if ref() is not None)
            self._open.append(weakref.ref(file))
            while len(self._open) > self._most:
                closing.append(self._open.popleft()())
            while len(self._awaited) > 2 * self._most:  # their events were dropped
                self._awaited.pop(next(iter(self._awaited)))
        for oldest in closing:
            if oldest is not None:
                oldest.close()

    def release(self, published: FilePublished) -> HeldFile:
        """Return a file, which stays open as long as the caller refers to it."""
        with self._lock:
            file = self._awaited.pop(published.path, None)
        return file or HeldFile(published.path, published.sidecar)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
