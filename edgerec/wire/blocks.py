"""The block stream, version 1: how blocks travel between processes and into files.

One JSON line, then blocks: a 40-byte little-endian header and interleaved int16 PCM. The capture
child's pipe, the feed socket and trace files all carry it, and a new header line may come before
any block (the device was reopened, perhaps at another rate). Without numpy: the capture child
uses it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal

from edgerec.audio import Block, BlockFlags, ClockName, DeviceFrame, StreamHeader, StreamName
from edgerec.validation.bounded_json import JsonError, parse_object
from edgerec.validation.constraints import Between
from edgerec.validation.typed import InvalidError, from_plain

VERSION: Final = 1
MAGIC: Final = 0x42524345  # "ECRB" as bytes: never the "{" that opens a header line
BLOCK_HEADER: Final = struct.Struct("<IIIIQqq")

MAX_LINE_BYTES: Final = 4096  # a header line has about 200 bytes; a longer one is not ours
MAX_BLOCK_BYTES: Final = 4 * 1024 * 1024  # 10 s of stereo at 96 kHz; bounds the decoder's memory
SAMPLE_BYTES: Final = 2
MIN_RATE_HZ: Final = 4_000
MAX_RATE_HZ: Final = 384_000
MAX_CHANNELS: Final = 64
MAX_NAME_CHARACTERS: Final = 256


class WireError(Exception):
    """A malformed block stream, which can't be read any further.

    Attributes
    ----------
    offset
        Byte in the stream at which the malformed header begins.
    """

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(f"malformed block stream at byte {offset}: {problem}")
        self.offset = offset


def encode_stream_header(header: StreamHeader) -> bytes:
    """Return the line that opens a stream."""
    line: dict[str, object] = {
        "edgerec_stream": VERSION,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "dtype": "s16le",
        "track": header.track,
        "device": header.device,
        "clock": header.clock,
        "utc_ns": header.utc_ns,
        "boot_id": header.boot_id,
        **({"dated": header.dated} if header.dated else {}),
        **({"live": header.live} if header.live else {}),
    }
    if header.source is not None:
        line["source"] = header.source
    return json.dumps(line, ensure_ascii=True).encode() + b"\n"


def encode_block_header(
    first_frame: int, frames: int, arrived_ns: int, adc_ns: int, flags: int, adc_error_us: int = 0
) -> bytes:
    """Return the 40 bytes that stand before a block's PCM."""
    return BLOCK_HEADER.pack(MAGIC, flags, frames, adc_error_us, first_frame, arrived_ns, adc_ns)


def encode_block(block: Block) -> bytes:
    """Return a block as it stands in the stream, header and PCM."""
    header = encode_block_header(
        block.first_frame,
        block.frames,
        block.arrived_ns,
        block.adc_ns,
        block.flags,
        block.adc_error_us,
    )
    return header + block.pcm


class Decoder:
    """Bytes in, headers and blocks out; holds at most one unfinished message.

    Not for more than one thread.

    Parameters
    ----------
    clears
        Whether blocks without frames are taken that have the flag `CLEAR`.
    """

    def __init__(self, *, clears: bool = False) -> None:
        self._clears = clears
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's first byte in the stream
        self._channels = 0  # 0: no header line seen yet

    @property
    def unfinished(self) -> bool:
        """Whether the stream stopped inside a message, or before its first header line."""
        return bool(self._buffer) or self._channels == 0

    @property
    def offset(self) -> int:
        """Number of bytes of whole messages taken from the stream."""
        return self._offset

    @property
    def rest(self) -> bytes:
        """The bytes after the last whole message; after an error, from the malformed one on."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[StreamHeader | Block]:
        """Take in `data` and yield every message it completes.

        Raises
        ------
        WireError
            At the first malformed byte; what came before it has been yielded. The stream can't be
            resynchronised: close it.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> StreamHeader | Block | None:
        if not self._buffer:
            return None
        if self._buffer[0] == ord("{"):
            return self._next_header()
        return self._next_block()

    def _next_header(self) -> StreamHeader | None:
        end = self._buffer.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise WireError(self._offset, f"header line longer than {MAX_LINE_BYTES} bytes")
            return None
        header = _parse_stream_header(bytes(self._buffer[:end]), self._offset)
        self._channels = header.channels
        self._drop(end + 1)
        return header

    def _next_block(self) -> Block | None:
        if len(self._buffer) < BLOCK_HEADER.size:
            self._check_magic()
            return None
        magic, flags, frames, adc_error_us, first_frame, arrived_ns, adc_ns = (
            BLOCK_HEADER.unpack_from(self._buffer)
        )
        pcm_bytes = frames * self._channels * SAMPLE_BYTES
        if magic != MAGIC:
            raise WireError(self._offset, f"not the beginning of a block (magic {magic:#010x})")
        if self._channels == 0:
            raise WireError(self._offset, "a block before the header line")
        is_clear = self._clears and flags & BlockFlags.CLEAR and frames == 0
        if not (is_clear or 0 < pcm_bytes <= MAX_BLOCK_BYTES):
            raise WireError(self._offset, f"a block of {frames} frames")
        is_dated_nowhere = adc_error_us > 0 and adc_ns == 0
        if first_frame > 2**62 or arrived_ns < 0 or adc_ns < 0 or is_dated_nowhere:
            raise WireError(
                self._offset,
                f"impossible position or time (first_frame {first_frame}, arrived_ns {arrived_ns}, "
                f"adc_ns {adc_ns}, adc_error_us {adc_error_us})",
            )
        size = BLOCK_HEADER.size + pcm_bytes
        if len(self._buffer) < size:
            return None
        pcm = bytes(memoryview(self._buffer)[BLOCK_HEADER.size : size])
        self._drop(size)
        return Block(DeviceFrame(first_frame), frames, arrived_ns, adc_ns, flags, pcm, adc_error_us)

    def _check_magic(self) -> None:
        """Refuse rubbish as soon as it shows, not when 40 bytes of it are there."""
        magic = MAGIC.to_bytes(4, "little")
        if not magic.startswith(self._buffer[:4]):
            raise WireError(
                self._offset, f"not the beginning of a block ({bytes(self._buffer[:4])!r})"
            )

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._offset += size


def _parse_stream_header(data: bytes, offset: int) -> StreamHeader:
    try:
        line = from_plain(_HeaderLine, parse_object(data))
    except JsonError as error:
        raise WireError(offset, f"header line is not JSON: {error}") from None
    except InvalidError as error:
        raise WireError(offset, str(error)) from None
    given = {field.name: getattr(line, field.name) for field in fields(StreamHeader)}
    return StreamHeader(**{name: value for name, value in given.items() if value is not None})


def device_name(name: str) -> str:
    """Return a name, such as a file's, in the form that a header allows for its device."""
    return "".join(one if one.isprintable() else "?" for one in name)[:MAX_NAME_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that logs and sidecars can hold: a lone surrogate can't be encoded."""

    expected: str = f"of up to {MAX_NAME_CHARACTERS} printable characters"

    def allows(self, value: object) -> bool:
        """Tell whether it is one."""
        return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


@dataclass(frozen=True, slots=True)
class _HeaderLine:
    """The fields of a header line; null is the default."""

    edgerec_stream: Literal[1]
    sample_rate: Annotated[int, Between(MIN_RATE_HZ, MAX_RATE_HZ, "Hz")]
    channels: Annotated[int, Between(1, MAX_CHANNELS)]
    dtype: Literal["s16le"]
    track: StreamName
    device: Annotated[str, _Name()]
    clock: ClockName
    utc_ns: Annotated[int, Between(0, 2**63 - 1, "ns since 1970")] | None = None
    boot_id: Annotated[str, _Name()] | None = None
    dated: bool | None = None
    live: bool | None = None
    source: Annotated[str, _Name()] | None = None
