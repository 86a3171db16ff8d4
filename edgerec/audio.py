"""The values that edgerec's rooms exchange: tracks, blocks, gaps and spans of the timeline.

Imports nothing of ours, and numpy only for type checking, so that the capture child can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final, Literal, NewType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TrackName = Literal["user", "bot"]
TRACKS: Final[tuple[TrackName, ...]] = ("user", "bot")
"""The tracks in the order of the recording's channels: user left, bot right."""

StreamName = Literal["user", "bot", "mix"]
"""Content of a block stream; `mix` is both tracks in one, which only comes out of the service."""
STREAMS: Final[tuple[StreamName, ...]] = (*TRACKS, "mix")

DeviceFrame = NewType("DeviceFrame", int)
"""A frame counted by one device since its stream began, lost frames included."""

TimelineFrame = NewType("TimelineFrame", int)
"""A frame counted at the recording's nominal rate since the session's epoch."""

ClockName = Literal["monotonic_raw", "monotonic"]


class BlockFlags(IntFlag):
    """Facts that the capture side knows about the frames before a block."""

    OVERFLOW = 1
    """The driver reported an overflow before this block."""
    NEW_STREAM = 2
    """The device was (re)opened: `first_frame` starts at 0 again."""
    DROPPED = 4
    """The capture child dropped frames because nobody read them."""
    CLEAR = 8
    """Of a block without frames in a feed: drop what was pushed before it and is not played."""


class GapReason(IntEnum):
    """Why frames of a track are silence; the ring keeps one of these per frame."""

    QUIET = 0
    """The source itself was silent: not a gap, and not distinguished from audio."""
    XRUN = 1
    """The device lost frames before they reached us."""
    OVERRUN = 2
    """Frames were lost in our own buffers."""
    STALL = 3
    """The device is open and delivers nothing."""
    ABSENT = 4
    """The device is not there, or could not be opened."""
    SOURCE = 5
    """The stream itself was wrong or at its end: malformed, wrong source, finished input."""
    PAUSE = 6
    """Recording is paused."""
    OFF = 7
    """The track is configured as `none`."""
    RESYNC = 8
    """The track stood in the wrong place, or its synchronisation failed; it was placed again."""

    @property
    def label(self) -> str:
        """The word for it in sidecars and logs."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """One line that opens a block stream and says what its blocks are."""

    sample_rate: int
    """Nominal rate of the device in Hz."""
    channels: int
    track: StreamName
    device: str
    """The device's stable name."""
    clock: ClockName
    """The clock of every stamp in the blocks."""
    utc_ns: int = 0
    """Wall clock at the first block's `arrived_ns`; 0 if unknown."""
    boot_id: str = ""
    """The boot whose clock this is; empty if unknown."""
    dated: bool = False
    """Whether its blocks carry dates: `Block.adc_ns` with a bound on its error."""
    live: bool = False
    """Whether an application passes on what its device delivers, as it comes: frames are counted,
    stamps only steer the clock, and a pause is a gap."""
    source: str | None = None
    """Source that a sound server is asked for; empty: its default; None: not a server's device."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive frames of one device, as its capture child handed them over."""

    first_frame: DeviceFrame
    frames: int
    arrived_ns: int
    """Instant at which the block was delivered, at or after its last frame; 0: not stamped."""
    adc_ns: int
    """Instant at which the device says the first frame was sampled; 0 if unknown."""
    flags: int
    """Combination of `BlockFlags`."""
    pcm: bytes
    """int16 little-endian, `frames` * channels samples, interleaved."""
    adc_error_us: int = 0
    """Bound on the error of `adc_ns`, early and late; 0: it bounds nothing."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A source stopped delivering; what follows comes after a new `StreamHeader`."""

    reason: GapReason
    """Reason of the silence from here on."""
    detail: str
    """Text for the log and the status: what happened, and to what."""
    refused_s: float = 0.0
    """Duration of the audio that came and was refused with it, in s; 0: none, or nobody knows."""


Delivery = StreamHeader | Block | StreamEnded
"""Any value that a source delivers, in order."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Timeline frames of one track in which silence stands in for audio that is not there."""

    start: TimelineFrame
    frames: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive timeline frames of all tracks; track order is `TRACKS`."""

    start: TimelineFrame
    pcm: NDArray[np.int16]
    """int16, shape (tracks, frames)."""
    reasons: NDArray[np.uint8]
    """uint8, shape (tracks, frames): 0 for audio, else the `GapReason` of a gap."""

    @property
    def frames(self) -> int:
        """Length in timeline frames."""
        return int(self.pcm.shape[1])


TurnEnd = Literal["turn", "full", "stop"]
"""Why a part of a turn ends: the speaker fell silent, the part is full, or the session ends."""


@dataclass(frozen=True, slots=True)
class TurnPart:
    """One file of a speaking turn, as far as it is known by now.

    A later one with the same number and part replaces it entirely: only the latest counts.
    """

    speaker: TrackName
    number: int
    """Number of the turn among both speakers' in a session, from 1, in the order of detection."""
    part: int
    """Number of the part within the turn, from 0."""
    start: TimelineFrame
    stop: TimelineFrame
    """The frame before which all belongs to the part; more may follow until it has `ended`."""
    speech_start: TimelineFrame
    """First frame of the speech in this part."""
    speech_end: TimelineFrame
    by: Literal["vad", "mark"]
    """Origin of the turn: a detector, or an application."""
    ended: TurnEnd | None = None
    interrupted: bool = False
    """Whether it is a bot turn that the user interrupted; known when it has ended."""
    exchange: int = 1
    """Number of the exchange between user and bot that the turn belongs to, from 1."""


@dataclass(frozen=True, slots=True)
class EchoReport:
    """The path from the loudspeaker to the microphone, as measured on the tracks themselves."""

    delay_ms: float | None = None
    """Delay of the echo in ms; None: there was no echo to measure so far."""
    return_db: float | None = None
    """Level of the echo in the microphone relative to the bot's track."""


@dataclass(frozen=True, slots=True)
class TrackReport:
    """Current facts about one track, as they are written to the sidecars."""

    device: str | None = None
    drift_ppm: float | None = None
    """Rate error of the device against CLOCK_MONOTONIC_RAW; positive is fast."""
    residual_us: float | None = None
    """Bound on the placement error, apart from the device's constant latency."""
    late_frames: int = 0
    """Number of frames so far that came after their place was committed as silence."""
    echo: EchoReport = EchoReport()
    """Echo of the bot's track in this one; known for the user's track only, from the detectors."""
    fold_gain_db: float | None = None
    """Level of the mean of its channels relative to that of unrelated ones; see `Fold`."""
    refused_frames: int = 0
    """Number of frames so far that were pushed into a feed and refused, at the timeline's rate."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time of one timeline frame on all clocks."""

    utc_ns: int
    utc_trusted: bool
    utc_error_ms: float | None
    """Bound on the error of `utc_ns`; None if nothing bounds it."""
    monotonic_ns: int
    """On CLOCK_MONOTONIC."""
    boot_id: str


@dataclass(frozen=True, slots=True)
class Played:
    """What has become of audio that an application pushed into a track.

    As an event: an utterance has ended, or was cleared.
    """

    track: TrackName
    position: int
    """Number of frames pushed into the track up to the end of these, at their own rates."""
    frames: int
    """Number of frames heard: played before they could be dropped."""
    seconds: float
    """Duration of the frames heard, in s."""
    dropped: int
    """Number of frames that were cleared before they were played."""
    waiting: int
    """Number of frames that are still to be played."""
    last_ns: int | None
    """Instant on CLOCK_MONOTONIC at which the last frame heard ended; None: none was heard."""


@dataclass(frozen=True, slots=True)
class AudioRefused:
    """Audio that was pushed into a track and refused; no file holds it."""

    track: TrackName
    frames: int
    """Number of frames, at their own rate; 0: it could not be read as audio."""
    reason: str
    """Code of the error, as the application has received it (`bad_stamp`, `too_fast`, ...)."""
    detail: str
    """What was wrong with it."""


SourceStateName = Literal["starting", "running", "stalled", "absent", "idle"]


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one source is, for status and events."""

    name: SourceStateName
    """A restarted child that has not delivered yet leaves the name of the fault standing. A feed is
    `idle` while nobody is connected and nothing plays."""
    since_ns: int
    """On CLOCK_MONOTONIC_RAW."""
    detail: str
    restarts: int
    """Children started after the first."""
    fed: Played | None = None
    """What has become of all that was pushed into a feed; None: it is none."""
