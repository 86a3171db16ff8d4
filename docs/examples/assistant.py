"""An assistant that records itself: it pushes its speech into the bot track and is interrupted.

    python3 assistant.py kiosk.yaml

with `tracks.bot.source: feed` in the configuration. It marks its turns, which it receives again as
events, with their audio. Its last sentence is interrupted: what nobody heard is not recorded, and
the transcript ends where the sound did.
"""

from __future__ import annotations

import array
import math
import sys
import threading
import time

from edgerec import AudioData, Recorder, RecordingStarted, load_config

RATE = 24_000  # of the speech, as it comes from the engine
ANSWERS = ("Good morning.", "We are open until six.")
INTERRUPTED = "The next train to the harbour leaves at ten past six."


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
        say_interrupted(recorder, INTERRUPTED)
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


def say_interrupted(recorder: Recorder, text: str) -> None:
    """Speak a sentence that the user interrupts after a second; show what was heard of it."""
    recorder.mark("bot", "start")
    pushed = recorder.feed("bot", speech(text), sample_rate=RATE)
    time.sleep(1.0)  # then the user begins to speak
    recorder.clear("bot")  # the turn ends here, too: no mark is needed
    heard = recorder.played(pushed)
    spoken = text[: round(len(text) * heard.frames / (pushed.stop - pushed.start))]
    print(f"heard {heard.seconds:.1f} s: {spoken!r}", flush=True)
    time.sleep(1.0)


def speech(text: str) -> array.array[int]:
    """Stand in for a text-to-speech engine: a tone as long as the text would take."""
    frames = round(len(text) * 0.06 * RATE)
    return array.array(
        "h", (round(9_000 * math.sin(2 * math.pi * 220 * n / RATE)) for n in range(frames))
    )


if __name__ == "__main__":
    sys.exit(main())
