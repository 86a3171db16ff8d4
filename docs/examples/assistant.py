"""An assistant that records itself: it pushes its speech into the bot track and marks its turns.

    python3 assistant.py kiosk.yaml

with `tracks.bot.source: feed` in the configuration. The turns that it marks are told to it again
as events, with their audio.
"""

from __future__ import annotations

import array
import math
import sys
import threading
import time

from edgerec import AudioData, Recorder, RecordingStarted, load_config

RATE = 24_000  # of the speech, as it comes from the engine
ANSWERS = ("Good morning.", "We are open until six.", "Goodbye.")


def main() -> int:
    """Say a few sentences, and show what was recorded of them."""
    recorder = Recorder(load_config(sys.argv[1]))

    @recorder.event_handler("on_bot_turn_audio_data")
    def show(recorder: Recorder, event: AudioData) -> None:
        seconds = event.frames / event.sample_rate
        print(f"turn {event.turn.number}: {seconds:.1f} s, {len(event.audio)} bytes", flush=True)

    began = threading.Event()

    @recorder.event_handler("on_recording_started")
    def note(recorder: Recorder, event: RecordingStarted) -> None:
        began.set()

    with recorder:
        recorder.start_recording()
        began.wait()  # for the microphone: a turn is marked in what is recorded
        for text in ANSWERS:
            say(recorder, text)
        recorder.stop_recording()
    return 0


def say(recorder: Recorder, text: str) -> None:
    """Speak one sentence."""
    pcm = speech(text)
    seconds = len(pcm) / RATE
    recorder.mark("bot", "start")
    recorder.feed("bot", pcm, sample_rate=RATE)  # all at once: it is recorded as it plays
    time.sleep(seconds)  # while the loudspeaker plays it
    recorder.mark("bot", "stop")
    time.sleep(1.0)


def speech(text: str) -> array.array[int]:
    """Stand in for a text-to-speech engine: a tone as long as the text would take."""
    frames = round(len(text) * 0.06 * RATE)
    return array.array(
        "h", (round(9_000 * math.sin(2 * math.pi * 220 * n / RATE)) for n in range(frames))
    )


if __name__ == "__main__":
    sys.exit(main())
