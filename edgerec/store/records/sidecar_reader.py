"""Reads sidecars back, validating every field.

Sidecars come back from disks, uploads and other people's scripts: nothing in one is used before it
has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from edgerec.audio import GapReason, TimelineFrame, TrackName
from edgerec.store.records.naming import (
    FORMS,
    SIDECAR_SUFFIX,
    TURN_OF,
    FileKey,
    What,
    parse_published,
)
from edgerec.store.records.sidecar import SCHEMA, TurnFacts, kind_of
from edgerec.validation.bounded_json import JsonError, read_object
from edgerec.validation.constraints import Between, Matches, NotEmpty
from edgerec.validation.typed import InvalidError, from_plain, in_short

_MAX_NUMBER: Final = (1 << 48) - 1  # 20 years of frames at 384 kHz, 280 TB: arithmetic stays exact
_SUFFIXES: Final = {form.container: form.suffix for form in FORMS.values()}
MAX_BYTES: Final = 4 << 20
"""Maximum size of a sidecar: with as many gaps of both tracks as one may list it has 1 MB."""
REASONS: Final = tuple(reason.label for reason in GapReason if reason)
_T = TypeVar("_T")

DescribedTotals = Mapping[TrackName, Mapping[str, int]]
"""Number of gap frames by reason."""


class SidecarError(Exception):
    """A sidecar that is malformed or contradicts its file's name.

    Attributes
    ----------
    problems
        All that is wrong with it, each a sentence for a person.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """An audio file as described by its sidecar."""

    path: Path
    """Path of the audio file, whether it exists or not."""
    key: FileKey
    bytes: int
    sha256: str
    container: str
    sample_rate: int
    num_channels: int
    start: int
    frames: int
    missing_before: int
    recovered: bool
    gaps: DescribedTotals
    turn: TurnFacts | None = None
    """The turn that the file holds; None for other files."""

    @property
    def stop(self) -> int:
        """The frame after the file's last one."""
        return self.start + self.frames


@dataclass(frozen=True, slots=True)
class DescribedSession:
    """A session as described by its closing record."""

    path: Path
    key: FileKey
    frames: int
    missing: int
    """Number of frames that no file holds."""
    files: Mapping[What, int]
    gaps: DescribedTotals
    recovered: bool
    """Whether the record was put together after a crash."""


_Whole = Annotated[int, Between(0, _MAX_NUMBER)]
_Positive = Annotated[int, Between(1, _MAX_NUMBER)]
_Reason = Annotated[str, Matches("|".join(REASONS), "that is a reason of a gap")]


@dataclass(frozen=True, slots=True)
class _Gap:
    start_frame: _Whole
    frames: _Positive
    reason: _Reason


@dataclass(frozen=True, slots=True)
class _Track:
    gaps: tuple[_Gap, ...]


@dataclass(frozen=True, slots=True)
class _Format:
    container: Literal["wav", "flac", "ogg"]
    sample_rate: _Positive
    channels: Annotated[tuple[str, ...], NotEmpty("of names")]


@dataclass(frozen=True, slots=True)
class _Turn:
    speaker: TrackName
    number: _Positive
    part: _Whole
    speech_start_frame: _Whole
    speech_end_frame: _Whole
    by: Literal["vad", "mark"]
    interrupted: bool
    exchange: _Positive | None = None

    def facts(self) -> TurnFacts:
        return TurnFacts(
            speaker=self.speaker,
            number=self.number,
            part=self.part,
            speech_start=TimelineFrame(self.speech_start_frame),
            speech_end=TimelineFrame(self.speech_end_frame),
            by=self.by,
            interrupted=self.interrupted,
            exchange=self.exchange,
        )


@dataclass(frozen=True, slots=True)
class _File:
    """The fields of a file's sidecar that are read back."""

    file: str
    bytes: _Whole
    sha256: str
    format: _Format
    start_frame: _Whole
    frames: _Positive
    missing_before: _Whole
    recovered: bool
    tracks: Mapping[TrackName, _Track]
    turn: _Turn | None = None


@dataclass(frozen=True, slots=True)
class _GapTotal:
    count: _Positive
    frames: _Positive


@dataclass(frozen=True, slots=True)
class _TrackTotals:
    gaps: Mapping[_Reason, _GapTotal]


@dataclass(frozen=True, slots=True)
class _Session:
    """The fields of a session's closing record that are read back."""

    recovered: bool
    frames: _Whole
    files: Mapping[Literal["chunk", "user", "bot", "turn-user", "turn-bot"], _Whole]
    losses: Mapping[Literal["disk", "crash"], _Positive]
    tracks: Mapping[TrackName, _TrackTotals]


def read_sidecar(path: Path) -> DescribedFile | DescribedSession:
    """Read a file that is named like a sidecar.

    Raises
    ------
    SidecarError
        Not readable, not JSON, or not what its name and the schema say.
    """
    key = parse_published(path.name.removesuffix(SIDECAR_SUFFIX))
    if key is None:
        raise SidecarError([f"{path.name} is not the name of a sidecar"])
    given = _load(path)
    kind = kind_of(key.what)
    common = {
        "schema": SCHEMA,
        "kind": kind,
        "session": key.session,
        "sequence": key.sequence,
    }
    problems = [
        f"{name} is {in_short(given.get(name))}, its name says {expected!r}"
        for name, expected in common.items()
        if given.get(name) != expected
    ]
    if kind == "session":
        record = _checked(_Session, given, problems)
        return DescribedSession(
            path=path,
            key=key,
            frames=record.frames,
            missing=sum(record.losses.values()),
            files=dict(record.files.items()),
            gaps={
                track: {reason: total.frames for reason, total in held.gaps.items()}
                for track, held in record.tracks.items()
            },
            recovered=record.recovered,
        )
    fields = _checked(_File, given, problems)
    return _described_file(path, key, fields)


def _described_file(path: Path, key: FileKey, fields: _File) -> DescribedFile:
    start, frames, form = fields.start_frame, fields.frames, fields.format
    audio = path.with_suffix(_SUFFIXES[form.container])
    problems = [] if fields.file == audio.name else [f"file is {in_short(fields.file)}"]
    gaps: dict[TrackName, dict[str, int]] = {}
    for track, held in fields.tracks.items():
        position = start
        totals = gaps.setdefault(track, {})
        for gap in held.gaps:
            first, length = gap.start_frame, gap.frames
            if not position <= first <= first + length <= start + frames:
                problems.append(f"{track}'s gap at frame {first} is out of order or outside")
            position = first + length
            totals[gap.reason] = totals.get(gap.reason, 0) + length
    turn = None
    if kind_of(key.what) == "turn":
        if fields.turn is None:
            raise SidecarError(["turn is missing"])
        turn = fields.turn.facts()
        if TURN_OF[turn.speaker] != key.what:
            problems.append(f"turn is of the {turn.speaker}, its name says {key.what}")
        if turn != turn.within(TimelineFrame(start), TimelineFrame(start + frames)):
            problems.append("turn says that speech is outside the file")
    if problems:
        raise SidecarError(problems)
    return DescribedFile(
        path=audio,
        key=key,
        bytes=fields.bytes,
        sha256=fields.sha256,
        container=form.container,
        sample_rate=form.sample_rate,
        num_channels=len(form.channels),
        start=start,
        frames=frames,
        missing_before=fields.missing_before,
        recovered=fields.recovered,
        gaps=gaps,
        turn=turn,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, max_bytes=MAX_BYTES)
    except JsonError as error:
        what = "is not JSON" if error.errno is None else "can't be read"
        raise SidecarError([f"{what}: {error}"]) from error


def _checked(kind: type[_T], given: Mapping[str, Any], problems: list[str]) -> _T:
    """Return a sidecar's fields; a field that only a newer version knows is ignored."""
    try:
        fields = from_plain(kind, given)
    except InvalidError as error:
        raise SidecarError([*problems, *map(str, error.wrong)]) from error
    if problems:
        raise SidecarError(problems)
    return fields
