"""Stand-ins for the frameworks' classes that the adapters extend: only what these rely on."""

import sys
from dataclasses import dataclass
from enum import Enum
from types import ModuleType


@dataclass
class Frame:
    audio: bytes = b""
    sample_rate: int = 16_000
    num_channels: int = 1


class InputAudioRawFrame(Frame):
    pass


class OutputAudioRawFrame(Frame):
    pass


class FrameDirection(Enum):
    DOWNSTREAM = 1
    UPSTREAM = 2


class FrameProcessor:
    def __init__(self):
        self.passed = []

    async def process_frame(self, frame, direction):
        pass

    async def push_frame(self, frame, direction):
        self.passed.append((frame, direction))


@dataclass
class AudioFrame:
    data: bytes
    sample_rate: int
    num_channels: int


class AudioInput:
    def __init__(self, *, label, source=None):
        self.source = source

    async def __anext__(self):
        return await self.source.__anext__()


@dataclass
class AudioOutputCapabilities:
    pause: bool


class AudioOutput:
    def __init__(self, *, label, capabilities, next_in_chain=None, sample_rate=None):
        self.next_in_chain, self.sample_rate = next_in_chain, sample_rate
        self.capabilities = capabilities
        self.calls = []

    async def capture_frame(self, frame):
        self.calls.append("capture_frame")

    def flush(self):
        self.calls.append("flush")

    def clear_buffer(self):
        self.calls.append("clear_buffer")


def install(monkeypatch):
    """Let the frameworks' modules be these, until the test ends."""
    here = sys.modules[__name__]
    for name in (
        "pipecat",
        "pipecat.frames",
        "pipecat.frames.frames",
        "pipecat.processors",
        "pipecat.processors.frame_processor",
        "livekit",
        "livekit.agents",
        "livekit.agents.voice",
        "livekit.agents.voice.io",
    ):
        module = ModuleType(name)
        module.__dict__.update({one: vars(here)[one] for one in vars(here) if one[0].isupper()})
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["livekit"].rtc = here
    for name in ("edgerec.integrations.pipecat", "edgerec.integrations.livekit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
