"""The usual recorder of a Pipecat bot, with edgerec; see docs/from-pipecat.md.

python3 migrated.py kiosk.yaml FOLDER SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import wave
from pathlib import Path

from edgerec import AudioData, Recorder, TrackAudioData, load_config


async def main() -> None:
    """Record for a while, as part of a program that runs on asyncio."""
    recorder = Recorder(load_config(sys.argv[1]))

    @recorder.event_handler("on_audio_data")
    async def save(recorder: Recorder, event: AudioData) -> None:
        name = Path(sys.argv[2]) / f"conversation_{event.sequence}.wav"
        with wave.open(str(name), "wb") as wav:
            wav.setnchannels(event.num_channels)
            wav.setsampwidth(2)
            wav.setframerate(event.sample_rate)
            wav.writeframes(event.audio)

    @recorder.event_handler("on_track_audio_data")
    async def compare(recorder: Recorder, event: TrackAudioData) -> None:
        print(f"user {len(event.user_audio)} bytes, bot {len(event.bot_audio)} bytes", flush=True)

    await asyncio.to_thread(recorder.start_recording)
    await asyncio.sleep(float(sys.argv[3]))
    await asyncio.to_thread(recorder.stop_recording)


if __name__ == "__main__":
    asyncio.run(main())
