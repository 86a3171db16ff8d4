"""Record a Pipecat pipeline: a processor after each transport. Needs `edgerec[pipecat]`.

`UserRecorder` stands after the input transport, `BotRecorder` after the output transport.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from edgerec.api.asynchronous import AsyncRecorder
from edgerec.api.recorder import Recorder
from edgerec.integrations.target import ServiceFeed, Target

# A later frame begins another utterance: event loops are seldom busy for so long.
UTTERANCE_PAUSE_NS: Final = 200_000_000


class UserRecorder(FrameProcessor):  # type: ignore[misc,unused-ignore]
    """Record what the input transport delivers, as live audio; passes every frame on.

    Parameters
    ----------
    recorder
        A recorder whose user track has `source: feed`, or a `ServiceFeed` of it with `live=True`.
    """

    def __init__(self, recorder: Recorder | AsyncRecorder | ServiceFeed) -> None:
        super().__init__()
        self._target = Target(recorder, "user", live=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record a frame of the user's audio, and pass each frame on."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self._target.push(frame.audio, frame.sample_rate, frame.num_channels)


class BotRecorder(FrameProcessor):  # type: ignore[misc,unused-ignore]
    """Record what the output transport has written to its device; passes every frame on.

    The transport passes a frame on when it has played, and drops what an interruption cuts off, so
    there is nothing to clear. An utterance's first frame tells when it began; those after it
    follow without a gap.

    Parameters
    ----------
    recorder
        A recorder whose bot track has `source: feed`, or a `ServiceFeed` of it with `live=False`.
    """

    def __init__(self, recorder: Recorder | AsyncRecorder | ServiceFeed) -> None:
        super().__init__()
        self._target = Target(recorder, "bot", live=False)
        self._end_ns = 0  # of the last frame

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record a frame of the bot's audio, and pass each frame on."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            frames = len(frame.audio) // (2 * frame.num_channels)
            duration_ns = frames * 10**9 // frame.sample_rate
            start_ns = time.monotonic_ns() - duration_ns
            if start_ns - self._end_ns < UTTERANCE_PAUSE_NS:
                start_ns = self._end_ns
            self._end_ns = start_ns + duration_ns
            # An interruption cancels this call, and the frame was heard.
            await asyncio.shield(
                self._target.push(frame.audio, frame.sample_rate, frame.num_channels, start_ns)
            )
