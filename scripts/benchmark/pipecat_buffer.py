"""Pipecat's AudioBufferProcessor on the same two files. Run as a program, in .venv-bench.

Its process_frame is called directly, with frames of 20 ms as its transports make them, user and
bot in turn: the cheapest way to use it, without the queues and tasks of a pipeline. The handler
writes a WAV file per chunk.
"""

import asyncio
import sys
import wave
from pathlib import Path

from loguru import logger
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.utils.asyncio.task_manager import TaskManager, TaskManagerParams

CHUNK_S = 30
FRAMES_PER_S = 50


async def main(user: str, bot: str, out: str, rate_hz: int) -> None:
    logger.remove()  # it logs at debug level otherwise, which is not what is to be measured
    recorder = AudioBufferProcessor(
        sample_rate=rate_hz, num_channels=2, buffer_size=rate_hz * 2 * CHUNK_S
    )
    chunks = 0

    @recorder.event_handler("on_audio_data")
    async def write_chunk(_recorder, audio: bytes, sample_rate: int, num_channels: int) -> None:
        nonlocal chunks
        with wave.open(str(Path(out) / f"{chunks:06}.wav"), "wb") as chunk:
            chunk.setparams((num_channels, 2, sample_rate, 0, "NONE", ""))
            chunk.writeframesraw(audio)
        chunks += 1

    tasks = TaskManager()
    tasks.setup(TaskManagerParams(loop=asyncio.get_running_loop()))
    await recorder.setup(
        FrameProcessorSetup(clock=SystemClock(), task_manager=tasks, pipeline_worker=None)
    )
    await recorder.start_recording()
    with wave.open(user, "rb") as microphone, wave.open(bot, "rb") as loopback:
        source_hz = microphone.getframerate()
        frames = source_hz // FRAMES_PER_S
        for _ in range(microphone.getnframes() // frames):
            heard = InputAudioRawFrame(microphone.readframes(frames), source_hz, 1)
            said = OutputAudioRawFrame(loopback.readframes(frames), source_hz, 1)
            await recorder.process_frame(heard, FrameDirection.DOWNSTREAM)
            await recorder.process_frame(said, FrameDirection.DOWNSTREAM)
            await asyncio.sleep(0)  # the handler runs in a task of its own
    await recorder.stop_recording()
    await recorder.cleanup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
