"""Names of a recording's files, while in progress and once published.

A published name begins with its start in UTC and is unique, because the session's id and the file's
sequence number follow. A name in the work folder has no wall time: the clock may not be set yet
when a recording begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast

from edgerec.audio import TrackName

Format = Literal["wav", "flac", "opus"]
"""Name of a format in the configuration."""


@dataclass(frozen=True, slots=True)
class Form:
    """The names of a format."""

    container: str
    codec: str
    """Container and codec as named in sidecars."""
    suffix: str
    """Suffix of the file's name."""


FORMS: Final[Mapping[Format, Form]] = {
    "wav": Form("wav", "pcm_s16le", ".wav"),
    "flac": Form("flac", "flac", ".flac"),
    "opus": Form("ogg", "opus", ".opus"),
}
WAV_SUFFIX: Final = FORMS["wav"].suffix
OPUS_RATES_HZ: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Sampling rates of Opus (RFC 6716, section 2); any other would have to be resampled."""


What = Literal["chunk", "user", "bot", "turn-user", "turn-bot", "session"]
"""Content of a file, the last word of its name."""
TURN_OF: Final[Mapping[TrackName, What]] = {"user": "turn-user", "bot": "turn-bot"}
"""Content of the files of each speaker's turns."""

JOURNAL_SUFFIX: Final = ".journal"
SIDECAR_SUFFIX: Final = ".json"
AUDIO_SUFFIXES: Final = frozenset(form.suffix for form in FORMS.values())

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KIOSK: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SESSION: Final = re.compile(r"[0-9a-f]{8}")
_PUBLISHED: Final = re.compile(
    r"\d{8}T\d{6}\.\d{3}Z_(?P<session>[0-9a-f]{8})_(?P<sequence>\d{6,})_"
    r"(?P<what>chunk|user|bot|turn-user|turn-bot|session)"
)


@dataclass(frozen=True, slots=True)
class Session:
    """Identity of one recording from start to stop, and of the one before it."""

    id: str
    """Random id of the session, 8 hex digits."""
    number: int
    """Number of the session on this storage root, from 1."""
    previous: str | None
    """Id of the previous session on this storage root."""
    kiosk: str

    def __post_init__(self) -> None:
        """Refuse what would not make one folder name, or one word of a file name."""
        if not _KIOSK.fullmatch(self.kiosk):
            raise ValueError(f"kiosk {self.kiosk!r}: expected 1 to 64 of A-Z a-z 0-9 . _ -")
        if not _SESSION.fullmatch(self.id):
            raise ValueError(f"session id {self.id!r}: expected 8 hex digits")


@dataclass(frozen=True, slots=True)
class FileKey:
    """Session, sequence number and content of a file: the common part of all its names."""

    session: str
    sequence: int
    what: What

    def __str__(self) -> str:
        """Return the stem of its name in the work folder."""
        return f"{self.session}_{self.sequence:06d}_{self.what}"


def work_name(key: FileKey, suffix: str) -> str:
    """Return the name of a file in progress, `9f3a01c2_000012_chunk.wav`."""
    return f"{key}{suffix}"


def published_stem(started_utc_ns: int, key: FileKey) -> str:
    """Return the published name without suffix, `20261122T101500.123Z_9f3a01c2_000012_chunk`."""
    started = _utc(started_utc_ns)
    return f"{started:%Y%m%dT%H%M%S}.{started.microsecond // 1000:03d}Z_{key}"


def partition(kiosk: str, started_utc_ns: int) -> tuple[str, str]:
    """Return the folders under `ready/`, `kiosk=k1` and `date=2026-11-22` (Hive partitions)."""
    return f"kiosk={kiosk}", f"date={_utc(started_utc_ns):%Y-%m-%d}"


def utc_text(utc_ns: int) -> str:
    """Return an instant as sidecars write it, `2026-11-22T10:15:00.123456Z`."""
    return f"{_utc(utc_ns):%Y-%m-%dT%H:%M:%S.%f}Z"


def parse_published(stem: str) -> FileKey | None:
    """Read back `published_stem`; None if `stem` is not one."""
    match = _PUBLISHED.fullmatch(stem)
    if match is None:
        return None
    return FileKey(match["session"], int(match["sequence"]), cast(What, match["what"]))


def begins_published(name: str) -> bool:
    """Whether a name begins with a published one, as the copies that sync programs keep do."""
    return _PUBLISHED.match(name) is not None


def _utc(utc_ns: int) -> datetime:
    # In whole microseconds: a float of seconds since 1970 is already wrong in the seventh digit.
    return _EPOCH + timedelta(microseconds=utc_ns // 1000)
