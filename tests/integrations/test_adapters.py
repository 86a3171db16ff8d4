"""The adapters' logic, with stand-ins for the frameworks."""

import asyncio
import importlib
import subprocess
import sys

import pytest

from edgerec import FeedError
from tests.integrations import frameworks
from tests.integrations.frameworks import (
    AudioFrame,
    AudioOutput,
    Frame,
    FrameDirection,
    InputAudioRawFrame,
    OutputAudioRawFrame,
)

PCM = b"\1\2" * 160


class Recorded:
    """A recorder that notes what is asked of it."""

    def __init__(self, error=None):
        self.asked, self.times, self.error = [], [], error

    def feed(self, track, pcm, sample_rate, channels, at_ns, *, live):
        if self.error is not None:
            raise self.error
        self.times.append(at_ns)
        self.asked.append((track, pcm, sample_rate, channels, live))

    def clear(self, track, at_ns):
        self.asked.append(("clear", track))


@pytest.fixture
def adapter(monkeypatch):
    frameworks.install(monkeypatch)
    return lambda name: importlib.import_module(f"edgerec.integrations.{name}")


async def process(processor, *frames):
    for frame in frames:
        await processor.process_frame(frame, FrameDirection.DOWNSTREAM)


def test_edgerec_imports_no_framework():
    code = "import sys, edgerec.api, edgerec.integrations, edgerec.integrations.target\n"
    code += "assert not {'pipecat', 'livekit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_pipecat_each_track_is_recorded_and_every_frame_passed_on(adapter):
    recorder = Recorded()
    user, bot = adapter("pipecat").UserRecorder(recorder), adapter("pipecat").BotRecorder(recorder)
    frames = [InputAudioRawFrame(PCM), OutputAudioRawFrame(PCM, 24_000, 2), Frame()]
    asyncio.run(process(user, *frames))
    asyncio.run(process(bot, *frames))
    assert recorder.asked == [("user", PCM, 16_000, 1, True), ("bot", PCM, 24_000, 2, False)]
    assert [frame for frame, _ in user.passed] == [frame for frame, _ in bot.passed] == frames


def test_of_pipecat_frames_of_an_utterance_follow_and_one_after_a_pause_has_its_own_time(
    adapter, monkeypatch
):
    recorder = Recorded()
    bot = adapter("pipecat").BotRecorder(recorder)
    clock = type("Clock", (), {"monotonic_ns": staticmethod(lambda: next(instants))})
    instants = iter([10**9, 10**9 + 150_000_000, 2 * 10**9])
    monkeypatch.setattr(adapter("pipecat"), "time", clock)
    asyncio.run(process(bot, *[OutputAudioRawFrame(PCM)] * 3))  # of 10 ms each
    assert recorder.times == [990_000_000, 1_000_000_000, 1_990_000_000]


@pytest.mark.parametrize("error", [FeedError("busy", "another feeds", "stop it"), OSError("gone")])
def test_what_is_refused_is_logged_once_and_breaks_no_pipeline(adapter, caplog, error):
    bot = adapter("pipecat").BotRecorder(Recorded(error))
    frames = [OutputAudioRawFrame(PCM), OutputAudioRawFrame(PCM)]
    asyncio.run(process(bot, *frames))
    assert [frame for frame, _ in bot.passed] == frames
    assert len(caplog.records) == 1


def test_of_livekit_the_user_is_live(adapter):
    class Source:
        async def __anext__(self):
            return AudioFrame(PCM, 16_000, 1)

    recorder = Recorded()
    recorded = adapter("livekit").RecordedInput(Source(), recorder)
    assert asyncio.run(recorded.__anext__()).data == PCM
    assert recorder.asked == [("user", PCM, 16_000, 1, True)]


def test_of_livekit_what_follows_an_interruption_is_pushed_after_the_clear(adapter):
    recorder = Recorded()
    sink = AudioOutput(label="sink", capabilities=None, sample_rate=24_000)

    async def speak():
        output = adapter("livekit").RecordedOutput(sink, recorder)
        await output.capture_frame(AudioFrame(PCM, 24_000, 1))
        output.flush()
        output.clear_buffer()
        await output.capture_frame(AudioFrame(PCM, 24_000, 1))
        return output

    output = asyncio.run(speak())
    pushed = ("bot", PCM, 24_000, 1, False)
    assert recorder.asked == [pushed, ("clear", "bot"), pushed]
    assert sink.calls == ["capture_frame", "flush", "clear_buffer", "capture_frame"]
    assert (output.sample_rate, output.capabilities.pause) == (24_000, False)
