"""Checks the published files in a tree against their sidecars, and that none is missing.

Lengths and headers come first: only a file of the right length is read to its end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerec.store.archive.continuity import Issue, absence, check_closing, check_order
from edgerec.store.archive.tree import length_of, walk
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.publish import fingerprint
from edgerec.store.records.naming import (
    AUDIO_SUFFIXES,
    SIDECAR_SUFFIX,
    begins_published,
    parse_published,
)
from edgerec.store.records.sidecar_reader import (
    DescribedFile,
    DescribedSession,
    SidecarError,
    read_sidecar,
)
from edgerec.store.root import is_published_here
from edgerec.store.writing.compressed import CompressedHeader, read_compressed_header
from edgerec.store.writing.wav import HEADER_BYTES, WavHeader, parse_wav_header

_NO_RECORDING: Final = "not a name that edgerec gives: not looked at"

OnProgress = Callable[[int, int], None]
"""Called with the number of files done and the number of all files."""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings in a tree of files."""

    files: int
    """Number of audio files checked."""
    bytes: int
    """Total length of the files checked."""
    sessions: int
    findings: tuple[Issue, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.severity != "error" for finding in self.findings)


def verify(top: Path, progress: OnProgress | None = None) -> Report:
    """Check every published file under a folder, at any depth.

    A storage root's work, state and quarantine folders hold nothing published and are left out.
    Files whose names are not edgerec's (sync conflicts, other recordings) are reported but not
    checked. Under the `ready` of a storage root, a file that is no longer there was picked up, and
    that is not an error; anywhere else it is missing.

    Raises
    ------
    StoreError
        A folder can't be listed.
    """
    takes_away = _TakesAway()
    sidecars, audio, others = _find(top)
    files, closings, findings = _read_sidecars(sidecars, takes_away)
    findings += [Issue(path, _NO_RECORDING, "info") for path in others]
    described = {file.path: file for file in files}
    of_sidecar = {path.with_suffix("") for path in sidecars}
    size_bytes = 0
    for done, path in enumerate(audio):
        if progress is not None:
            progress(done, len(audio))
        if path in described:
            try:
                length, problems = _check_audio(described[path])
            except StoreError as error:
                if error.errno == errno.ENOENT:
                    continue  # taken away meanwhile
                length, problems = 0, [str(error)]
            del described[path]
            size_bytes += length
            findings += [Issue(path, problem) for problem in problems]
        elif path.with_suffix("") not in of_sidecar:
            findings.append(absence(path, "has no sidecar", picked_up=takes_away(path)))
    if progress is not None:
        progress(len(audio), len(audio))
    for path in described:
        if takes_away(path):
            findings.append(Issue(path, "acknowledged: taken away, its sidecar is left", "info"))
        else:
            findings.append(Issue(path, "is missing, its sidecar is here"))
    sessions = {one.key.session for one in files} | {one.key.session for one in closings}
    for session in sorted(sessions):
        findings += _check_session(
            [file for file in files if file.key.session == session],
            [closing for closing in closings if closing.key.session == session],
            takes_away,
        )
    return Report(len(audio), size_bytes, len(sessions), tuple(findings))


class _TakesAway:
    """Whether sync jobs take files away from a file's folder; looked up once per folder."""

    def __init__(self) -> None:
        self._known: dict[Path, bool] = {}

    def __call__(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._known:
            self._known[folder] = is_published_here(folder)
        return self._known[folder]


def _find(top: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the sidecars, the audio files, and what resembles one of them, under `top`."""
    sidecars, audio, others = [], [], []
    for path in walk(top):
        is_audio = path.suffix in AUDIO_SUFFIXES
        if parse_published(path.stem):
            if is_audio:
                audio.append(path)
            elif path.suffix == SIDECAR_SUFFIX:
                sidecars.append(path)
        elif is_audio or (path.suffix == SIDECAR_SUFFIX and begins_published(path.name)):
            others.append(path)
    return sidecars, audio, others


def _read_sidecars(
    paths: Sequence[Path], takes_away: Callable[[Path], bool]
) -> tuple[list[DescribedFile], list[DescribedSession], list[Issue]]:
    files: list[DescribedFile] = []
    closings: list[DescribedSession] = []
    findings = []
    for path in paths:
        try:
            one = read_sidecar(path)
        except SidecarError as error:
            if takes_away(path) and _is_gone(path):
                continue
            findings += [Issue(path, problem) for problem in error.problems]
        else:
            if isinstance(one, DescribedFile):
                files.append(one)
            else:
                closings.append(one)
    return files, closings, findings


def _is_gone(path: Path) -> bool:
    try:
        with disk_step("looking at", path):
            path.lstat()
    except StoreError as error:
        return error.errno == errno.ENOENT
    return False


def _check_audio(file: DescribedFile) -> tuple[int, list[str]]:
    """Return the file's length in bytes and what is wrong with it.

    Raises
    ------
    StoreError
        It can't be read.
    """
    size_bytes = length_of(file.path)
    problems = []
    if size_bytes != file.bytes:
        problems.append(f"is {size_bytes} bytes long, its sidecar says {file.bytes}")
    if file.container == "wav":
        with disk_step("reading", file.path), file.path.open("rb") as audio:
            head = audio.read(HEADER_BYTES)
        problems += _check_wav(file, size_bytes, head)
    else:
        problems += _check_compressed(file)
    if not problems and fingerprint(file.path)[1] != file.sha256:
        problems.append("is not what was recorded: its SHA-256 differs from the sidecar's")
    return size_bytes, problems


def _check_wav(file: DescribedFile, size_bytes: int, head: bytes) -> Iterator[str]:
    try:
        header = parse_wav_header(head)
    except ValueError as error:
        yield str(error)
        return
    if header.data_bytes + HEADER_BYTES != size_bytes:
        yield f"is {size_bytes} bytes long, its header says {header.data_bytes + HEADER_BYTES}"
    yield from _check_shape(file, header)


def _check_compressed(file: DescribedFile) -> Iterator[str]:
    try:
        header = read_compressed_header(file.path)
    except StoreError as error:
        yield str(error)
        return
    yield from _check_shape(file, header)


def _check_shape(file: DescribedFile, header: WavHeader | CompressedHeader) -> Iterator[str]:
    for name, found, said in (
        ("frames", header.frames, file.frames),
        ("Hz", header.sample_rate, file.sample_rate),
        ("channels", header.channels, file.num_channels),
    ):
        if found != said:
            yield f"has {found} {name}, its sidecar says {said}"


def _check_session(
    files: Sequence[DescribedFile],
    closings: Sequence[DescribedSession],
    takes_away: Callable[[Path], bool],
) -> Iterator[Issue]:
    paths = [file.path for file in files] + [closing.path for closing in closings]
    picked_up = all(takes_away(path) for path in paths)
    kinds: dict[str, dict[int, DescribedFile]] = {}
    for file in files:
        same = kinds.setdefault(file.key.what, {}).setdefault(file.key.sequence, file)
        if same is not file:
            yield Issue(file.path, f"is a second {same.path.name}, see {same.path.parent}", "info")
    in_order = [[kind[sequence] for sequence in sorted(kind)] for kind in kinds.values()]
    for kind in in_order:
        yield from check_order(kind, picked_up=picked_up)
    if closings:
        yield from check_closing(closings[0], in_order, picked_up=picked_up)
    else:
        last = max(files, key=lambda file: file.stop)
        yield Issue(
            last.path, "the session has no closing record: it is in progress, or crashed", "info"
        )
