"""Record a LiveKit agent session: wrappers of its audio. Needs `edgerec[livekit]`.

`session.input.audio = RecordedInput(session.input.audio, recorder)`, and so the output.
"""

from __future__ import annotations

import asyncio
import time

from livekit import rtc
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities

from edgerec.api.asynchronous import AsyncRecorder
from edgerec.api.recorder import Recorder
from edgerec.integrations.target import ServiceFeed, Target


class RecordedInput(AudioInput):  # type: ignore[misc,unused-ignore]
    """Record what another audio input delivers, as live audio of the user track.

    Parameters
    ----------
    recorder
        A recorder whose user track has `source: feed`, or a `ServiceFeed` of it with `live=True`.
    """

    def __init__(
        self, source: AudioInput, recorder: Recorder | AsyncRecorder | ServiceFeed
    ) -> None:
        super().__init__(label="edgerec", source=source)
        self._target = Target(recorder, "user", live=True)

    async def __anext__(self) -> rtc.AudioFrame:
        """Return the source's next frame, after it was recorded."""
        frame = await super().__anext__()
        await self._target.push(bytes(frame.data), frame.sample_rate, frame.num_channels)
        return frame


class RecordedOutput(AudioOutput):  # type: ignore[misc,unused-ignore]
    """Record the speech that another audio output plays, up to where it is interrupted.

    Speech is pushed faster than it plays, and queued in the recorder as in the output. It can't
    be paused: sessions interrupt instead.

    Parameters
    ----------
    recorder
        A recorder whose bot track has `source: feed`, or a `ServiceFeed` of it with `live=False`.
    """

    def __init__(self, sink: AudioOutput, recorder: Recorder | AsyncRecorder | ServiceFeed) -> None:
        super().__init__(
            label="edgerec",
            capabilities=AudioOutputCapabilities(pause=False),
            next_in_chain=sink,
            sample_rate=sink.sample_rate,
        )
        self._target = Target(recorder, "bot", live=False)
        self._clearing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Record a frame of speech, and give it to the sink."""
        await super().capture_frame(frame)
        if self._clearing is not None:
            await self._clearing  # what comes after an interruption is not to be dropped with it
            self._clearing = None
        await self._target.push(bytes(frame.data), frame.sample_rate, frame.num_channels)
        if self.next_in_chain is not None:  # not the sink itself: it may be exchanged
            await self.next_in_chain.capture_frame(frame)

    def flush(self) -> None:
        """End a stretch of speech."""
        super().flush()
        if self.next_in_chain is not None:
            self.next_in_chain.flush()

    def clear_buffer(self) -> None:
        """Drop what is not played yet, here and in the sink."""
        if self.next_in_chain is not None:
            self.next_in_chain.clear_buffer()
        self._clearing = asyncio.create_task(self._target.clear(time.monotonic_ns()))
