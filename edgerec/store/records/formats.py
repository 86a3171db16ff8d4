"""Which forms can a recording be published in, and what are they called?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Format = Literal["wav", "flac", "opus"]
"""As the configuration names them."""


@dataclass(frozen=True, slots=True)
class Form:
    """The names of a format."""

    container: str
    codec: str
    """Container and codec, as sidecars name them."""
    suffix: str
    """Of the file's name."""


FORMS: Final[Mapping[Format, Form]] = {
    "wav": Form("wav", "pcm_s16le", ".wav"),
    "flac": Form("flac", "flac", ".flac"),
    "opus": Form("ogg", "opus", ".opus"),
}
WAV_SUFFIX: Final = FORMS["wav"].suffix
OPUS_RATES_HZ: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""RFC 6716, section 2: the codec has no others, and would have to resample."""
