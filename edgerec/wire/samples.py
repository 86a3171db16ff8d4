"""Sample formats of PCM files, and their conversion to 16 bits.

Integers keep their upper 16 bits (what goes is 96 dB down); floats are rounded, clipped at full
scale, and 0 where they are not numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from edgerec.wire.blocks import SAMPLE_BYTES

_FULL_SCALE: Final = 1 << 15
_SIGN_BIT: Final = bytes(byte ^ 0x80 for byte in range(256))


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """Storage format of one little-endian sample."""

    kind: Literal["signed", "unsigned", "float"]
    """Kind of number; unsigned samples have one byte, floats four or eight."""
    width: int
    """Number of bytes from one sample to the next."""
    top: int
    """Number of bytes up to the end of the most significant one; those after it are ignored."""


S16: Final = SampleFormat("signed", 2, 2)
U8: Final = SampleFormat("unsigned", 1, 1)
S24_IN_LOW_BYTES: Final = SampleFormat("signed", 4, 3)
"""ALSA's S24_LE: the fourth byte is the sign, or whatever the driver left there."""


def to_s16(data: bytes, samples: SampleFormat) -> bytes:
    """Convert whole samples to little-endian 16-bit ones."""
    if samples == S16:
        return data
    if samples.kind == "float":
        values = np.clip(np.nan_to_num(np.frombuffer(data, f"<f{samples.width}")), -1, 1)
        scaled = np.minimum(np.rint(values * _FULL_SCALE), _FULL_SCALE - 1)
        return bytes(scaled.astype("<i2"))
    pcm = bytearray(len(data) // samples.width * SAMPLE_BYTES)
    if samples.kind == "unsigned":
        pcm[1::2] = data.translate(_SIGN_BIT)
    else:
        pcm[0::2] = data[samples.top - 2 :: samples.width]
        pcm[1::2] = data[samples.top - 1 :: samples.width]
    return bytes(pcm)
