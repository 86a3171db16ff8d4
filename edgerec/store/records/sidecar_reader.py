"""Reads sidecars back, validating every field.

Sidecars come back from disks, uploads and other people's scripts: nothing in one is used before it
has been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgerec.audio import GapReason, TrackName
from edgerec.store.bounded_json import JsonError, read_object
from edgerec.store.records.naming import (
    FORMS,
    SIDECAR_SUFFIX,
    TURN_OF,
    FileKey,
    What,
    parse_published,
)
from edgerec.store.records.sidecar import SCHEMA, Kind, TurnFacts, kind_of

_TOO_LARGE: Final = 1 << 48  # 20 years of frames at 384 kHz, 280 TB: arithmetic stays exact
_SUFFIXES: Final = {form.container: form.suffix for form in FORMS.values()}
MAX_BYTES: Final = 4 << 20
"""Maximum size of a sidecar: with as many gaps of both tracks as one may list it has 1 MB."""
REASONS: Final = frozenset(reason.label for reason in GapReason if reason)

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
    fields = _load(path)
    common = {
        "schema": SCHEMA,
        "kind": kind_of(key.what),
        "session": key.session,
        "sequence": key.sequence,
    }
    problems = [
        f"{name} is {_shown(fields.get(name))}, its name says {expected!r}"
        for name, expected in common.items()
        if fields.get(name) != expected
    ]
    shape = _SHAPES[kind_of(key.what)]
    for name, check in shape.items():
        problems += [f"{name} {problem}" for problem in check(fields.get(name))]
    if problems:
        raise SidecarError(problems)
    if key.what == "session":
        return DescribedSession(
            path=path,
            key=key,
            frames=fields["frames"],
            missing=sum(fields["losses"].values()),
            files=fields["files"],
            gaps={
                track: {reason: total["frames"] for reason, total in held["gaps"].items()}
                for track, held in fields["tracks"].items()
            },
            recovered=fields["recovered"],
        )
    return _described_file(path, key, fields)


def _described_file(path: Path, key: FileKey, fields: Mapping[str, Any]) -> DescribedFile:
    start, frames, form = fields["start_frame"], fields["frames"], fields["format"]
    audio = path.with_suffix(_SUFFIXES[form["container"]])
    problems = [] if fields["file"] == audio.name else [f"file is {_shown(fields['file'])}"]
    gaps: dict[TrackName, dict[str, int]] = {}
    for track, held in fields["tracks"].items():
        position = start
        totals = gaps.setdefault(track, {})
        for gap in held["gaps"]:
            first, length = gap["start_frame"], gap["frames"]
            if not position <= first <= first + length <= start + frames:
                problems.append(f"{track}'s gap at frame {first} is out of order or outside")
            position = first + length
            reason = gap["reason"]
            totals[reason] = totals.get(reason, 0) + length
    turn = None
    if kind_of(key.what) == "turn":
        turn = _described_turn(fields["turn"])
        if TURN_OF[turn.speaker] != key.what:
            problems.append(f"turn is of the {turn.speaker}, its name says {key.what}")
        if turn != turn.within(start, start + frames):
            problems.append("turn says that speech is outside the file")
    if problems:
        raise SidecarError(problems)
    return DescribedFile(
        path=audio,
        key=key,
        bytes=fields["bytes"],
        sha256=fields["sha256"],
        container=form["container"],
        sample_rate=form["sample_rate"],
        num_channels=len(form["channels"]),
        start=start,
        frames=frames,
        missing_before=fields["missing_before"],
        recovered=fields["recovered"],
        gaps=gaps,
        turn=turn,
    )


def _described_turn(fields: Mapping[str, Any]) -> TurnFacts:
    return TurnFacts(
        speaker=fields["speaker"],
        number=fields["number"],
        part=fields["part"],
        speech_start=fields["speech_start_frame"],
        speech_end=fields["speech_end_frame"],
        by=fields["by"],
        interrupted=fields["interrupted"],
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, max_bytes=MAX_BYTES)
    except JsonError as error:
        what = "is not JSON" if error.errno is None else "can't be read"
        raise SidecarError([f"{what}: {error}"]) from error


Check = Callable[[object], list[str]]
"""Returns what is wrong with a value, as text to follow its name."""


def _is(valid: Callable[[object], bool], expected: str) -> Check:
    return lambda value: [] if valid(value) else [f"is {_shown(value)}, expected {expected}"]


def _shown(value: object) -> str:
    return f"{value!r:.80}"


def _whole(low: int) -> Check:
    return _is(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v < _TOO_LARGE,
        f"a whole number from {low}",
    )


def _object(**shape: Check) -> Check:
    """Return a check of an object that has at least these fields."""

    def check(value: object) -> list[str]:
        if not isinstance(value, dict):
            return [f"is {_shown(value)}, expected an object"]
        return [
            f"{name} {problem}"
            for name, inner in shape.items()
            for problem in inner(value.get(name))
        ]

    return check


def _each(inner: Check, *, keys: frozenset[str] | None = None) -> Check:
    """Return a check of every value of an object, or with `keys` None of a list."""

    def check(value: object) -> list[str]:
        if keys is None:
            if not isinstance(value, list):
                return [f"is {_shown(value)}, expected a list"]
            return [f"[{i}] {problem}" for i, item in enumerate(value) for problem in inner(item)]
        if not isinstance(value, dict) or not value.keys() <= keys:
            return [f"is {_shown(value)}, expected an object of {', '.join(sorted(keys))}"]
        return [f"{name} {problem}" for name, item in value.items() for problem in inner(item)]

    return check


_TEXT: Final = _is(lambda v: isinstance(v, str), "a text")
_SWITCH: Final = _is(lambda v: isinstance(v, bool), "true or false")
_REASON: Final = _is(lambda v: isinstance(v, str) and v in REASONS, "a reason of a gap")
_NAMES: Final = _is(
    lambda v: isinstance(v, list) and bool(v) and all(isinstance(name, str) for name in v),
    "a list of names",
)
_CONTAINER: Final = _is(lambda v: isinstance(v, str) and v in _SUFFIXES, "wav, flac or ogg")
_TRACK_NAMES: Final = frozenset({"user", "bot"})
_FILES: Final = frozenset({"chunk", "user", "bot", "turn-user", "turn-bot"})

_TURN: Final = _object(
    speaker=_is(lambda v: isinstance(v, str) and v in TURN_OF, "user or bot"),
    number=_whole(1),
    part=_whole(0),
    speech_start_frame=_whole(0),
    speech_end_frame=_whole(0),
    by=_is(lambda v: isinstance(v, str) and v in ("vad", "mark"), "vad or mark"),
    interrupted=_SWITCH,
)

_FILE_SHAPE: Final[Mapping[str, Check]] = {
    "file": _TEXT,
    "bytes": _whole(0),
    "sha256": _TEXT,
    "format": _object(container=_CONTAINER, sample_rate=_whole(1), channels=_NAMES),
    "start_frame": _whole(0),
    "frames": _whole(1),
    "missing_before": _whole(0),
    "recovered": _SWITCH,
    "tracks": _each(
        _object(gaps=_each(_object(start_frame=_whole(0), frames=_whole(1), reason=_REASON))),
        keys=_TRACK_NAMES,
    ),
}
_SESSION_SHAPE: Final[Mapping[str, Check]] = {
    "recovered": _SWITCH,
    "frames": _whole(0),
    "files": _each(_whole(0), keys=_FILES),
    "losses": _each(_whole(1), keys=frozenset({"disk", "crash"})),
    "tracks": _each(
        _object(gaps=_each(_object(count=_whole(1), frames=_whole(1)), keys=REASONS)),
        keys=_TRACK_NAMES,
    ),
}
_SHAPES: Final[Mapping[Kind, Mapping[str, Check]]] = {
    "chunk": _FILE_SHAPE,
    "track": _FILE_SHAPE,
    "turn": {**_FILE_SHAPE, "turn": _TURN},
    "session": _SESSION_SHAPE,
}
