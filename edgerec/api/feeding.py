"""Pushes a program's audio into tracks.

It is what any other application's feed is (`feeds.source`): audio without a time is queued and
played, audio with a time comes from a live device. What is wrong with it is raised at once.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, SupportsIndex

from edgerec.api.pushed_samples import int16_of
from edgerec.audio import Block, ClockName, DeviceFrame, StreamHeader, TrackName
from edgerec.clock import SECOND_NS
from edgerec.feeds.connection import FeedError, check_form
from edgerec.feeds.source import FeedSource
from edgerec.wire.blocks import (
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    SAMPLE_BYTES,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

PIECE_MS: Final = 100  # as long as a device's blocks, so that little more is read than needed
MAX_LOST: Final = 1 << 40  # frames: months at any rate; more is a slip, not a loss
CONTIGUOUS_NS: Final = 20_000_000
"""Deviation of a stamp below which it is jitter, and the frames are contiguous."""


@dataclass(frozen=True, slots=True)
class _Form:
    sample_rate: int
    channels: int
    stamped: bool
    live: bool


@dataclass(frozen=True, slots=True)
class Pushed:
    """The frames that a call of `feed` has pushed: ask `Recorder.played` what became of them.

    Positions count all frames ever pushed into the track, at their own rates.
    """

    track: TrackName
    start: int
    """Position of the first frame."""
    stop: int
    """Position after the last one."""


class Feeding:
    """One program's audio for a track; for any thread, one at a time.

    `push` waits as long as the track has 30 s in hand.
    """

    def __init__(self, source: FeedSource, name: str) -> None:
        self._source = source
        self._name = name
        self._lock = threading.RLock()  # a signal handler that pushes is refused, not locked out
        self._pushing = False
        self._attached = False
        self._form: _Form | None = None  # of the open stream
        self._frames = 0  # sent of it
        self._expected_ns = 0  # the instant after them, in a stamped stream
        self._rest: tuple[_Form | None, bytes] = None, b""  # of a frame; the next call has its end

    def push(
        self,
        pcm: Buffer,
        sample_rate: int,
        channels: int | None,
        at_ns: int | None,
        *,
        live: bool = False,
        lost: int = 0,
        is_given_up: Callable[[], bool] = lambda: False,
    ) -> Pushed:
        """Send audio; see `Recorder.feed`.

        Parameters
        ----------
        is_given_up
            Whether it no longer waits, asked again after `look`.

        Returns
        -------
        What was pushed; fewer frames where a `clear` came while this waited, or it was given up.

        Raises
        ------
        FeedError
            It can't be recorded.
        """
        sample_rate = _whole("sample_rate", sample_rate)
        channels = None if channels is None else _whole("channels", channels)
        at_ns = None if at_ns is None else _whole("at_ns", at_ns)
        lost = _whole("lost", lost)
        pushed, number = int16_of(pcm, channels)
        form = _Form(sample_rate, number, at_ns is not None, live)
        _check(form)
        _check_lost(lost, at_ns, live=live)
        track = self._source.track
        with self._lock:
            if self._pushing:
                told = f"a signal handler feeds the {track} track that its thread is feeding"
                raise FeedError("busy", told, "feed it from another thread")
            self._pushing = True
            try:
                data = self._whole_frames(pushed, form)
                if not data:
                    return Pushed(track, 0, 0)
                if not self._attached:
                    self._source.attach()
                    self._attached = True
                messages = self._messages(data, form, at_ns, lost)
                start, stop = self._source.push(messages, is_given_up)
                if (stop - start) * form.channels * SAMPLE_BYTES < len(data):
                    self._begin_again()  # the messages that were not taken count as sent
                return Pushed(track, start, stop)
            except FeedError:
                self._begin_again()
                raise
            finally:
                self._pushing = False

    def _begin_again(self) -> None:
        """Have the next call begin another stream."""
        self._form, self._rest = None, (None, b"")

    def look(self) -> None:
        """Have a `push` that waits ask whether it is given up."""
        self._source.look()

    def close(self) -> None:
        """Note that no more audio will be pushed."""
        self._source.detach()

    def _whole_frames(self, pushed: bytes | memoryview, form: _Form) -> memoryview:
        """Return what there is of whole frames; a stream may be cut anywhere."""
        rest_form, rest = self._rest
        if form == rest_form and rest:
            pushed = b"".join((rest, pushed))
        data = memoryview(pushed)
        whole = len(data) - len(data) % (form.channels * SAMPLE_BYTES)
        self._rest = form, bytes(data[whole:])
        return data[:whole]

    def _messages(
        self, data: memoryview, form: _Form, at_ns: int | None, lost: int
    ) -> Iterator[StreamHeader | Block]:
        frame_bytes = form.channels * SAMPLE_BYTES
        if form != self._form or not self._goes_on(at_ns):
            self._form, self._frames = form, 0
            clock: ClockName = "monotonic" if form.stamped else "monotonic_raw"
            track = self._source.track
            yield StreamHeader(
                form.sample_rate, form.channels, track, self._name, clock, live=form.live
            )
        self._frames += lost
        piece = max(1, form.sample_rate * PIECE_MS // 1000) * frame_bytes
        for start in range(0, len(data), piece):
            pcm = bytes(data[start : start + piece])
            frames = len(pcm) // frame_bytes
            stop = start // frame_bytes + frames
            arrived_ns = 0
            if at_ns is not None:
                # From each call's own stamp: they show how fast the device runs.
                arrived_ns = at_ns + stop * SECOND_NS // form.sample_rate
                self._expected_ns = arrived_ns
            first = DeviceFrame(self._frames)
            self._frames += frames
            yield Block(first, frames, arrived_ns, 0, 0, pcm)

    def _goes_on(self, at_ns: int | None) -> bool:
        """Tell whether audio of this instant continues what was sent before."""
        return at_ns is None or abs(at_ns - self._expected_ns) <= CONTIGUOUS_NS


def _whole(name: str, value: object) -> int:
    """Return a whole number, of NumPy's too."""
    if not isinstance(value, SupportsIndex):
        raise FeedError("malformed", f"{name} is {value!r}", "give a whole number")
    return operator.index(value)


def _check_lost(lost: int, at_ns: int | None, *, live: bool) -> None:
    if live and at_ns is not None:
        raise FeedError(
            "malformed",
            "live audio with a time",
            "give at_ns where the instant of sampling is known; live is for audio without one",
        )
    if not 0 <= lost <= MAX_LOST or (lost and not live):
        raise FeedError(
            "malformed",
            f"lost is {lost}",
            "give the number of frames that live audio lost before this, with live=True; "
            f"{MAX_LOST} at most",
        )


def _check(form: _Form) -> None:
    for value, low, high, what in (
        (form.sample_rate, MIN_RATE_HZ, MAX_RATE_HZ, "sample_rate"),
        (form.channels, 1, MAX_CHANNELS, "channels"),
    ):
        if not low <= value <= high:
            raise FeedError("malformed", f"{what} is {value}", f"give {low} to {high}")
    check_form(form.sample_rate, form.channels)
