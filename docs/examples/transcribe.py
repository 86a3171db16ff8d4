"""Live transcription: cuts what the microphone hears into utterances, each for a program to read.

    edgerec tap user --wav | python3 transcribe.py python3 stt.py

The program gets each utterance as a WAV file on its standard input and prints the text. The cut by
level stands in for a voice detector, and docs/examples/stt.py for a speech-to-text program.
"""

from __future__ import annotations

import array
import io
import math
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator
from typing import BinaryIO

SPEECH_DBFS = -40.0
PAUSE_S = 0.6  # that ends an utterance
PIECE_S = 0.1


def main() -> int:
    """Transcribe standard input until it ends."""
    source = sys.stdin.buffer
    rate, channels = read_header(source)
    for pcm in utterances(source, rate, channels):
        done = subprocess.run(sys.argv[1:], input=as_wav(pcm, rate), capture_output=True)
        print(done.stdout.decode().strip() or done.stderr.decode().strip(), flush=True)
    return 0


def read_header(source: BinaryIO) -> tuple[int, int]:
    """Read the 44 bytes in front of the audio; return its rate in Hz and its channels."""
    header = source.read(44)
    if header[:4] != b"RIFF" or header[36:40] != b"data":
        raise SystemExit("transcribe: pipe `edgerec tap user --wav` into this")
    channels, rate = struct.unpack_from("<HI", header, 22)
    return rate, channels


def utterances(source: BinaryIO, rate: int, channels: int) -> Iterator[array.array[int]]:
    """Yield the samples of each utterance, one channel, with the piece before it."""
    heard: array.array[int] = array.array("h")
    before: array.array[int] = array.array("h")
    quiet_s = 0.0
    while len(data := source.read(round(PIECE_S * rate) * channels * 2)) >= channels * 2:
        piece = array.array("h", data)[::channels]
        quiet_s = 0.0 if dbfs(piece) > SPEECH_DBFS else quiet_s + PIECE_S
        if heard or quiet_s == 0.0:
            heard += piece if heard else before + piece
        if heard and quiet_s >= PAUSE_S:
            yield heard
            heard = array.array("h")
        before = piece
    if heard:
        yield heard


def dbfs(samples: array.array[int]) -> float:
    """Return how loud samples are, 0 being a square wave at full scale."""
    power = sum(sample * sample for sample in samples) / len(samples)
    return 10 * math.log10(power / 32_768**2) if power else -math.inf


def as_wav(samples: array.array[int], rate: int) -> bytes:
    """Return a WAV file of one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(samples.tobytes())
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
