"""Metadata inside an audio file, for tools that do not read sidecars.

A WAV file carries a `bext` chunk (EBU Tech 3285, "Specification of the Broadcast Wave Format",
version 1), so that editors place it on their time line; FLAC and Opus carry Vorbis comments
(RFC 7845, section 5.2). All of it has a fixed length: the time is often known only at the end, and
is then filled in without moving the audio.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TRACKS
from edgerec.clock import SECOND_NS
from edgerec.store.records.naming import FileKey, utc_text
from edgerec.store.records.sidecar import SOFTWARE

_BEXT: Final = struct.Struct("<256s32s32s10s8sQH64s10s180s50s")
"""Description, Originator, OriginatorReference, OriginationDate, OriginationTime, TimeReference,
Version, UMID, loudness, Reserved, CodingHistory. The last is as long as the longest of ours needs,
and makes the audio begin at a multiple of 64 bytes."""
BEXT_BYTES: Final = _BEXT.size
BLANK_BEXT: Final = bytes(BEXT_BYTES)

_BEXT_VERSION: Final = 1  # version 2 adds loudness, which is not measured here
_ORIGINATOR: Final = b"edgerec"
_DAY_NS: Final = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Tags:
    """The metadata of one file."""

    kiosk: str
    key: FileKey
    channels: tuple[str, ...]
    """Name of what each channel holds."""
    sample_rate: int
    utc_ns: int
    """Time of the first frame."""

    @property
    def date(self) -> str:
        """The instant of the first frame, always 27 characters."""
        return utc_text(self.utc_ns)

    def bext(self) -> bytes:
        """Return the content of the `bext` chunk; its times are UTC."""
        midnight_ns = self.utc_ns % _DAY_NS
        mode = "stereo" if self.channels == TRACKS else "mono"
        return _BEXT.pack(
            f"{self._title} {self.date}".encode("ascii"),
            _ORIGINATOR,
            str(self.key).encode("ascii"),
            self.date[:10].encode("ascii"),
            self.date[11:19].encode("ascii"),
            midnight_ns * self.sample_rate // SECOND_NS,
            _BEXT_VERSION,
            b"",
            b"",
            b"",
            f"A=PCM,F={self.sample_rate},W=16,M={mode},T=edgerec\r\n".encode("ascii"),
        )

    def comments(self) -> Mapping[str, str]:
        """Return the Vorbis comments by the names libsndfile has for them."""
        return {
            "title": self._title,
            "artist": self.kiosk,
            "album": self.key.session,
            "tracknumber": str(self.key.sequence),
            "date": self.date,
            "comment": ",".join(self.channels),
            "software": SOFTWARE,
        }

    @property
    def _title(self) -> str:
        return f"{self.kiosk} {self.key} {','.join(self.channels)}"
