"""How is what a source delivered stored in a file, and delivered again?

A trace is a block stream in a file: what one capture child wrote, to replay a field problem at a
desk. A WAV file is read as if a perfect device had delivered it. Both come in bounded pieces.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from edgerec.audio import (
    Block,
    BlockFlags,
    Delivery,
    DeviceFrame,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.capture.wire import (
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    SAMPLE_BYTES,
    Decoder,
    WireError,
    encode_block,
    encode_stream_header,
)

DEFAULT_BLOCK_MS: Final = 100
"""As the capture child's: a replay then takes the paths that a recording takes."""

_READ_BYTES: Final = 1 << 16
_WAV_WIDTHS: Final = (2, 3, 4)  # bytes per sample; the 8-bit ones are unsigned, and no recording


class TraceError(Exception):
    """A file that can't be read, or not to its end, as recorded input.

    Attributes
    ----------
    path
        The file.
    offset
        The byte from which on it can't be read.
    """

    def __init__(self, path: Path, offset: int, problem: str) -> None:
        super().__init__(f"{path}, byte {offset}: {problem}")
        self.path = path
        self.offset = offset


def open_input(path: Path, track: TrackName) -> Iterator[StreamHeader | Block]:
    """Read a trace or a WAV file, whichever its content says it is, as one track.

    Yields
    ------
    As `read_trace` or `read_wav`.

    Raises
    ------
    TraceError
        It is neither; or, once read so far, it is damaged, or a trace of the other track.
    OSError
        It can't be opened.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"RIFF":
        return read_wav(path, track)
    if start.startswith(b"{"):
        return _of_track(read_trace(path), path, track)
    raise TraceError(
        path, 0, f"neither a trace nor a WAV file (begins with {start!r}); try ffmpeg -i FILE x.wav"
    )


def _of_track(
    messages: Iterator[StreamHeader | Block], path: Path, track: TrackName
) -> Iterator[StreamHeader | Block]:
    for message in messages:
        if isinstance(message, StreamHeader) and message.track != track:
            raise TraceError(path, 0, f"a trace of {message.track}, given as {track}")
        yield message


def read_trace(path: Path) -> Iterator[StreamHeader | Block]:
    """Yield every whole message of a trace.

    Raises
    ------
    TraceError
        Behind the last message that could be read: the rest is malformed or cut off.
    """
    decoder = Decoder()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            try:
                yield from decoder.feed(data)
            except WireError as error:
                raise TraceError(path, error.offset, str(error)) from error
    if decoder.unfinished:
        raise TraceError(path, decoder.offset, "cut off: the file ends inside a header or block")


def read_wav(
    path: Path, track: TrackName, block_ms: int = DEFAULT_BLOCK_MS
) -> Iterator[StreamHeader | Block]:
    """Yield a WAV file of 16, 24 or 32-bit integers as a device exactly at its nominal rate.

    The first frame is sampled at instant 0 of the clock `monotonic`, and every block arrives as
    its last frame ends.

    Raises
    ------
    TraceError
        It is no such file; or it is shorter than its header says, behind the last whole frame.
    """
    with path.open("rb") as file, _open_wav(path, file) as wav:
        rate = wav.getframerate()
        yield StreamHeader(rate, wav.getnchannels(), track, path.name, "monotonic")
        first_frame = 0
        for pcm in _wav_pieces(wav, max(1, rate * block_ms // 1000)):
            frames = len(pcm) // (wav.getnchannels() * SAMPLE_BYTES)
            flags = 0 if first_frame else BlockFlags.NEW_STREAM.value
            end_ns = (first_frame + frames) * 1_000_000_000 // rate
            yield Block(DeviceFrame(first_frame), frames, end_ns, 0, flags, pcm)
            first_frame += frames
        if first_frame < wav.getnframes():
            promised = f"its header promises {wav.getnframes()} frames, it has {first_frame}"
            raise TraceError(path, file.tell(), f"cut off: {promised}")


def _open_wav(path: Path, file: BinaryIO) -> wave.Wave_read:
    try:
        wav: wave.Wave_read = wave.open(file)  # noqa: SIM115 -- closed by our caller
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk past the end
        raise TraceError(path, file.tell(), _not_this_wav(str(error) or "cut off")) from error
    width, rate, channels = wav.getsampwidth(), wav.getframerate(), wav.getnchannels()
    if width not in _WAV_WIDTHS:
        raise TraceError(path, 0, _not_this_wav(f"{8 * width}-bit samples"))
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise TraceError(path, 0, _not_this_wav(f"{rate} Hz"))
    if not 1 <= channels <= MAX_CHANNELS:
        raise TraceError(path, 0, _not_this_wav(f"{channels} channels"))
    return wav


def _not_this_wav(problem: str) -> str:
    return f"can't read this WAV ({problem}); try ffmpeg -i FILE -c:a pcm_s16le x.wav"


def _wav_pieces(wav: wave.Wave_read, block_frames: int) -> Iterator[bytes]:
    frame_bytes = wav.getsampwidth() * wav.getnchannels()
    while data := wav.readframes(block_frames):
        whole = data[: len(data) - len(data) % frame_bytes]  # a cut-off file may end in a frame
        if whole:
            yield to_s16(whole, wav.getsampwidth())


def to_s16(data: bytes, width: int) -> bytes:
    """Keep the upper 16 bits of each little-endian sample; what goes is 96 dB down.

    Parameters
    ----------
    width
        Bytes per sample: 2, 3 or 4.
    """
    if width == SAMPLE_BYTES:
        return data
    pcm = bytearray(len(data) // width * SAMPLE_BYTES)
    pcm[0::2] = data[width - 2 :: width]
    pcm[1::2] = data[width - 1 :: width]
    return bytes(pcm)


class TraceWriter:
    """Stores what one source delivers; a context manager.

    Nothing is held back: a trace that was cut off by a kill lacks at most its last block.
    """

    def __init__(self, path: Path) -> None:
        # "x": a trace of a fault that comes once a month must not be overwritten.
        self._file = path.open("xb")
        self.frames = 0
        """Written so far, without the lost ones."""

    def write(self, delivery: Delivery) -> None:
        """Append one delivery as it was received.

        A stream's end has no message of its own: the next header tells of it.
        """
        match delivery:
            case StreamHeader():
                self._file.write(encode_stream_header(delivery))
            case Block():
                self._file.write(encode_block(delivery))
                self.frames += delivery.frames
            case StreamEnded():
                return
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
