"""The audio formats in which a recording can be published, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

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
