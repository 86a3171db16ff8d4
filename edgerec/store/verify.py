"""Are the published files in a tree what their sidecars say, and is anything missing?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec.store.compressed import CompressedHeader, read_compressed_header
from edgerec.store.continuity import Finding, check_closing, check_order
from edgerec.store.described import DescribedFile, DescribedSession, SidecarError, read_sidecar
from edgerec.store.disk import StoreError, disk_step
from edgerec.store.naming import AUDIO_SUFFIXES, SIDECAR_SUFFIX, parse_published
from edgerec.store.publish import fingerprint
from edgerec.store.root import is_published_here
from edgerec.store.tree import walk
from edgerec.store.wav import HEADER_BYTES, WavHeader, parse_wav_header

Progress = Callable[[int, int], None]
"""Told how many files of how many are done."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a tree."""

    files: int
    """Audio files looked at."""
    bytes: int
    """Their length together."""
    sessions: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.severity != "error" for finding in self.findings)


def verify(top: Path, progress: Progress | None = None) -> Report:
    """Check every published file under a folder, at any depth.

    A storage root's work, state and quarantine folders hold nothing published and are left out.
    A sidecar without its audio is one that a sync job has acknowledged, not an error, under the
    `ready` of a storage root; anywhere else the audio is missing.

    Raises
    ------
    StoreError
        A folder can't be listed.
    """
    sidecars, audio = _find(top)
    files, closings, findings = _read_sidecars(sidecars)
    described = {file.path: file for file in files}
    of_sidecar = {path.with_suffix("") for path in sidecars}
    size_bytes = 0
    for done, path in enumerate(audio):
        if progress is not None:
            progress(done, len(audio))
        if path in described:
            length, problems = _check_audio(described.pop(path))
            size_bytes += length
            findings += [Finding(path, problem) for problem in problems]
        elif path.with_suffix("") not in of_sidecar:
            findings.append(Finding(path, "has no sidecar"))
    if progress is not None:
        progress(len(audio), len(audio))
    findings += _without_audio(described)
    sessions = {one.key.session for one in files} | {one.key.session for one in closings}
    for session in sorted(sessions):
        findings += _check_session(
            [file for file in files if file.key.session == session],
            [closing for closing in closings if closing.key.session == session],
        )
    return Report(len(audio), size_bytes, len(sessions), tuple(findings))


def _without_audio(paths: Iterable[Path]) -> Iterator[Finding]:
    here: dict[Path, bool] = {}
    for path in paths:
        folder = path.parent
        if folder not in here:
            here[folder] = is_published_here(folder)
        if here[folder]:
            yield Finding(path, "acknowledged: taken away, its sidecar is left", "info")
        else:
            yield Finding(path, "is missing, its sidecar is here")


def _find(top: Path) -> tuple[list[Path], list[Path]]:
    """Return the sidecars and the audio files under `top`."""
    sidecars, audio = [], []
    for path in walk(top):
        if path.suffix in AUDIO_SUFFIXES:
            audio.append(path)
        elif path.suffix == SIDECAR_SUFFIX and parse_published(path.stem):
            sidecars.append(path)
    return sidecars, audio


def _read_sidecars(
    paths: Sequence[Path],
) -> tuple[list[DescribedFile], list[DescribedSession], list[Finding]]:
    files: list[DescribedFile] = []
    closings: list[DescribedSession] = []
    findings = []
    for path in paths:
        try:
            one = read_sidecar(path)
        except SidecarError as error:
            findings += [Finding(path, problem) for problem in error.problems]
        else:
            if isinstance(one, DescribedFile):
                files.append(one)
            else:
                closings.append(one)
    return files, closings, findings


def _check_audio(file: DescribedFile) -> tuple[int, list[str]]:
    """Return the file's length in bytes and what is wrong with it."""
    if file.path.exists() and not file.path.is_file():
        return 0, ["is not a regular file"]  # whoever opens a pipe waits for its writer
    try:
        size_bytes, sha256 = fingerprint(file.path)
        with disk_step("reading", file.path), file.path.open("rb") as audio:
            head = audio.read(HEADER_BYTES)
    except StoreError as error:
        return 0, [str(error)]
    problems = []
    if size_bytes != file.bytes:
        problems.append(f"is {size_bytes} bytes long, its sidecar says {file.bytes}")
    elif sha256 != file.sha256:
        problems.append("is not what was recorded: its SHA-256 differs from the sidecar's")
    if file.container == "wav":
        problems += _check_wav(file, size_bytes, head)
    else:
        problems += _check_compressed(file)
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
    files: Sequence[DescribedFile], closings: Sequence[DescribedSession]
) -> Iterator[Finding]:
    kinds: dict[str, dict[int, DescribedFile]] = {}
    for file in files:
        same = kinds.setdefault(file.key.what, {}).setdefault(file.key.sequence, file)
        if same is not file:
            yield Finding(
                file.path, f"is a second {same.path.name}, see {same.path.parent}", "info"
            )
    in_order = [[kind[sequence] for sequence in sorted(kind)] for kind in kinds.values()]
    for kind in in_order:
        yield from check_order(kind)
    if closings:
        yield from check_closing(closings[0], in_order)
    else:
        last = max(files, key=lambda file: file.stop)
        yield Finding(
            last.path, "the session has no closing record: it goes on, or crashed", "info"
        )
