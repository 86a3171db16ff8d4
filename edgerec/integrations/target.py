"""The place to which adapters push audio: a recorder in this program, or the running service.

For asyncio: nothing here holds the loop up. Calls for one track are awaited one after the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgerec.api.asynchronous import AsyncRecorder
from edgerec.api.recorder import Recorder, RecorderError
from edgerec.audio import Block, DeviceFrame, StreamHeader, TrackName
from edgerec.feeds.connection import FeedError
from edgerec.service.control.client import ServiceConnection, ServiceError
from edgerec.wire.blocks import encode_block, encode_stream_header

_log: Final = logging.getLogger(__name__)


class ServiceFeed:
    """Push audio into a track of the running service, over its control socket.

    Parameters
    ----------
    paths
        Paths of the control socket to try, in order.
    live
        Whether the audio is what a device delivers, as it comes; else it is queued and played.

    Raises
    ------
    ServiceError
        No service listens there, or applications do not feed the track.
    """

    def __init__(self, paths: Sequence[Path], track: TrackName, *, live: bool) -> None:
        self._paths, self._track, self._live = paths, track, live
        self._format: tuple[int, int] | None = None
        self._frames = 0
        self._end_ns: int | None = None
        self._connection = ServiceConnection(paths)
        self._connection.request("feed", {"track": track})

    def push(self, pcm: bytes, sample_rate: int, channels: int, at_ns: int | None = None) -> None:
        """Send whole frames of int16; waits while the service's queue is full.

        Parameters
        ----------
        at_ns
            Instant of the first frame on CLOCK_MONOTONIC; None in every call: none is known.

        Raises
        ------
        ServiceError, OSError
            The service has ended the connection.
        """
        # A stamp that does not follow the last one begins a stream, as another format does.
        elsewhere = at_ns is not None and at_ns != self._end_ns
        if elsewhere or self._format != (sample_rate, channels):
            header = StreamHeader(
                sample_rate, channels, self._track, "application", "monotonic", live=self._live
            )
            self._connection.send(encode_stream_header(header))
            self._format, self._frames = (sample_rate, channels), 0
        count = len(pcm) // (2 * channels)
        arrived_ns = 0 if at_ns is None else at_ns + count * 10**9 // sample_rate
        self._end_ns = arrived_ns
        block = Block(DeviceFrame(self._frames), count, arrived_ns, 0, 0, pcm)
        self._connection.send(encode_block(block))
        self._frames += count

    def clear(self, at_ns: int) -> None:
        """Drop what would play from an instant of CLOCK_MONOTONIC on.

        Raises
        ------
        ServiceError
            The service can't be reached.
        """
        with ServiceConnection(self._paths) as connection:  # the feed may stand still, full
            connection.request("clear", {"track": self._track, "at_ns": at_ns})

    def close(self) -> None:
        """End the connection; what was sent is played out."""
        self._connection.__exit__()


class Target:
    """One track of a recorder, or of the service; errors are logged and cost only this audio.

    A recorder that refuses or can't be reached never breaks the assistant's own audio.
    """

    def __init__(
        self, recorder: Recorder | AsyncRecorder | ServiceFeed, track: TrackName, *, live: bool
    ) -> None:
        self._recorder, self._track, self._live = recorder, track, live
        self._failing = False

    async def push(
        self, pcm: bytes, sample_rate: int, channels: int, at_ns: int | None = None
    ) -> None:
        """Push int16 PCM, as `Recorder.feed`; without a time, waits while 30 s are queued."""
        to, track, live = self._recorder, self._track, self._live
        if not pcm:
            return
        try:
            if isinstance(to, ServiceFeed):
                await asyncio.to_thread(to.push, pcm, sample_rate, channels, at_ns)
            elif isinstance(to, AsyncRecorder):
                await to.feed(track, pcm, sample_rate, channels, at_ns, live=live)
            else:
                await asyncio.to_thread(
                    to.feed, track, pcm, sample_rate, channels, at_ns, live=live
                )
        except (FeedError, RecorderError, ServiceError, OSError) as error:
            self._note(error)
        else:
            self._failing = False

    async def clear(self, at_ns: int) -> None:
        """Drop what is not played at an instant of CLOCK_MONOTONIC: an interruption."""
        to = self._recorder
        try:
            if isinstance(to, ServiceFeed):
                await asyncio.to_thread(to.clear, at_ns)
            elif isinstance(to, AsyncRecorder):
                await to.clear(self._track, at_ns)
            else:
                await asyncio.to_thread(to.clear, self._track, at_ns)
        except (RecorderError, ServiceError, OSError) as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        if not self._failing:
            _log.warning("audio of the framework is not recorded: track=%s %s", self._track, error)
        self._failing = True
