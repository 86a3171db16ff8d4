"""The floor: what any Python recorder must at least do. Run as a program.

Two soxr streams in pieces of a second, interleaved, one WAV file per chunk; no timeline, no gaps,
no metadata, nothing durable.
"""

import sys
import wave
from pathlib import Path

import numpy as np
import soxr

CHUNK_S = 30


def main(user: str, bot: str, out: str, rate_hz: int) -> None:
    with wave.open(user, "rb") as left, wave.open(bot, "rb") as right:
        inputs = (left, right)
        streams = [
            soxr.ResampleStream(file.getframerate(), rate_hz, 1, dtype="int16") for file in inputs
        ]
        seconds = left.getnframes() // left.getframerate()
        for first in range(0, seconds, CHUNK_S):
            with wave.open(str(Path(out) / f"{first:06}.wav"), "wb") as chunk:
                chunk.setparams((2, 2, rate_hz, 0, "NONE", ""))
                for second in range(first, min(first + CHUNK_S, seconds)):
                    last = second == seconds - 1
                    tracks = [
                        stream.resample_chunk(
                            np.frombuffer(file.readframes(file.getframerate()), np.int16), last=last
                        )
                        for stream, file in zip(streams, inputs, strict=True)
                    ]
                    chunk.writeframesraw(np.column_stack(tracks).tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
