"""Lists a tree of published files, a kiosk's own or an archive, and reads a session from it.

Files that other programs keep there for themselves are left out: hidden files and folders
(`._X.wav`, `.DS_Store`, `.~tmp`, `.stversions`, `.syncthing.X.wav.tmp`), recycle bins, thumbnails
of a NAS.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, TrackName
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.records.layout import CHUNK
from edgerec.store.records.naming import SIDECAR_SUFFIX, parse_published
from edgerec.store.records.sidecar_reader import (
    MAX_BYTES,
    DescribedFile,
    SidecarError,
    read_sidecar,
)
from edgerec.store.root import QUARANTINE
from edgerec.validation.bounded_json import JsonError, read_object

_NOT_RECORDINGS: Final = frozenset(
    (
        QUARANTINE,
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        "#recycle",
        "@Recycle",
        "@eaDir",
    )
)
"""Folders left out: those of file systems, Windows, Synology and QNAP."""


def walk(top: Path) -> Iterator[Path]:
    """Yield every file at any depth, in order, except hidden ones and those in quarantine.

    Folders may disappear meanwhile: retention removes the empty ones.

    Raises
    ------
    StoreError
        A folder can't be listed, such as `top` itself.
    """

    def not_listed(error: OSError) -> None:
        folder = Path(error.filename)
        if isinstance(error, FileNotFoundError) and folder != top:
            return
        with disk_step("listing", folder):
            raise error

    for folder, subfolders, names in os.walk(top, onerror=not_listed):
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name not in _NOT_RECORDINGS
        )
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def length_of(path: Path) -> int:
    """Return the length of a regular file in bytes, without opening it.

    Raises
    ------
    StoreError
        There is none, or it is something else: opening a pipe would wait for its writer.
    """
    with disk_step("looking at", path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise StoreError("reading", path, "is not a regular file")
    return found.st_size


_PIECE_FRAMES: Final = 65_536
_FULL_SCALE: Final = 32_768


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a tree, as their sidecars describe them."""

    files: tuple[DescribedFile, ...]
    """Files by session, in the order of their names."""
    problems: tuple[str, ...]
    """Sentences about sidecars that can't be understood."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A stretch of one track."""

    track: TrackName
    start: int
    stop: int
    word: str
    """Label of the stretch: the reason of a gap, or the number of a turn."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One session reduced to the columns of its picture; tracks are those of `TRACKS`."""

    session: str
    sample_rate: int
    frames: int
    low: NDArray[np.float32]
    """Smallest sample of each column, shape (tracks, columns), relative to full scale."""
    high: NDArray[np.float32]
    rms: NDArray[np.float32]
    turns: tuple[Marked, ...]
    gaps: tuple[Marked, ...]


def find_files(top: Path) -> Found:
    """Read every sidecar under a folder, at any depth.

    Raises
    ------
    StoreError
        A folder can't be listed.
    """
    files, problems = [], []
    for path in walk(top):
        if path.suffix != SIDECAR_SUFFIX or parse_published(path.stem) is None:
            continue
        try:
            one = read_sidecar(path)
        except SidecarError as error:
            problems.append(f"{path}: {error}")
            continue
        if isinstance(one, DescribedFile):
            files.append(one)
    files.sort(key=lambda file: (file.path.name, file.key.what))
    begun = {file.key.session: file.path.name for file in reversed(files)}
    files.sort(key=lambda file: begun[file.key.session])
    return Found(tuple(files), tuple(problems))


def overview(files: Sequence[DescribedFile], columns: int) -> Overview:
    """Read all audio of one session that is still there.

    Raises
    ------
    StoreError
        A file can't be read.
    """
    frames = max(file.stop for file in files)
    low = np.zeros((len(TRACKS), columns), np.float32)
    high, energy = low.copy(), np.zeros((len(TRACKS), columns))
    counted = np.zeros((len(TRACKS), columns))
    for file in (file for file in files if file.key.what == CHUNK):
        for start, samples in _pieces(file):
            column = (start + np.arange(len(samples))) * columns // frames
            for track in range(len(TRACKS)):
                heard = samples[:, min(track, samples.shape[1] - 1)].astype(np.float32)
                heard /= _FULL_SCALE
                np.minimum.at(low[track], column, heard)
                np.maximum.at(high[track], column, heard)
                energy[track] += np.bincount(column, heard**2, columns)
                counted[track] += np.bincount(column, minlength=columns)
    rms = np.sqrt(energy / np.maximum(counted, 1)).astype(np.float32)
    gaps = [gap for file in files if file.key.what == CHUNK for gap in _gaps(file)]
    turns = [
        Marked(file.turn.speaker, file.start, file.stop, str(file.turn.number))
        for file in files
        if file.turn is not None
    ]
    first = files[0]
    return Overview(
        first.key.session, first.sample_rate, frames, low, high, rms, tuple(turns), tuple(gaps)
    )


def _pieces(described: DescribedFile) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """Yield a file's audio in pieces, each with its first frame; nothing if it was picked up."""
    import soundfile

    path, start, stop = described.path, described.start, described.stop
    try:
        size_bytes = length_of(path)
    except StoreError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    if size_bytes != described.bytes:
        problem = f"is {size_bytes} bytes long, its sidecar says {described.bytes}"
        raise StoreError("reading", path, problem)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            while len(
                samples := file.read(min(_PIECE_FRAMES, stop - start), "int16", always_2d=True)
            ):
                yield start, samples
                start += len(samples)
    except soundfile.LibsndfileError as error:
        raise StoreError("reading", path, error.error_string) from error


def _gaps(file: DescribedFile) -> Iterator[Marked]:
    sidecar = file.path.with_suffix(SIDECAR_SUFFIX)
    try:
        described = read_object(sidecar, max_bytes=MAX_BYTES)
    except JsonError as error:
        raise StoreError("reading", sidecar, str(error), error.errno) from error
    for track in TRACKS:
        for gap in described["tracks"].get(track, {}).get("gaps", ()):
            start = gap["start_frame"]
            yield Marked(track, start, start + gap["frames"], gap["reason"])
