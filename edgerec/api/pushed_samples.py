"""Reads the audio that programs push: bytes and arrays of several types, as 16-bit samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgerec.feeds.connection import FeedError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

_BYTES: Final = ("b", "B", "c")
_INT16: Final = ("h", "<h")
_FLOAT: Final = ("f", "<f", "d", "<d")
_HINT: Final = (
    "give bytes of int16, or an array of int16 or float32 of shape (frames,) or (frames, channels)"
)


def int16_of(pcm: Buffer, channels: int | None) -> tuple[bytes | memoryview, int]:
    """Return pushed audio as bytes of int16, little-endian and interleaved, and its channels.

    Parameters
    ----------
    pcm
        Bytes of such samples, which may end within a frame; or int16, or floats of -1 to 1, each
        more than that at full scale.
    channels
        None: those of an array of two dimensions, else 1.

    Raises
    ------
    FeedError
        It is nothing of these, or has another number of channels.
    """
    view = memoryview(pcm)
    if view.format not in _BYTES + _INT16 + _FLOAT or view.ndim > 2:
        told = f"samples of format {view.format!r} in {view.ndim} dimensions"
        raise FeedError("malformed", told, _HINT)
    if view.ndim == 2 and view.shape is not None and view.format not in _BYTES:
        if channels not in (None, view.shape[1]):
            told = f"an array of {view.shape[1]} channels, pushed as {channels}"
            raise FeedError("malformed", told, "leave channels out, or transpose the array")
        channels = view.shape[1]
    number = 1 if channels is None else channels
    if view.nbytes == 0:
        return b"", number
    if view.format in _FLOAT:
        return _from_floats(view), number
    # In the order of the indices, however an array lies in memory.
    return (view.cast("B") if view.c_contiguous else view.tobytes()), number


def _from_floats(view: memoryview) -> bytes:
    import numpy as np

    scaled = np.asarray(view).astype(np.float64) * 32767
    if not np.isfinite(scaled).all():
        raise FeedError("malformed", "samples that are no numbers (NaN, or infinite)", _HINT)
    return np.clip(np.rint(scaled), -32768, 32767).astype("<i2").tobytes()
