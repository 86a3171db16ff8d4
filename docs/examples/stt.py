"""Stands in for a speech-to-text program: reads a WAV file from standard input, prints a line."""

from __future__ import annotations

import io
import sys
import wave

if __name__ == "__main__":
    with wave.open(io.BytesIO(sys.stdin.buffer.read())) as wav:
        print(f"heard {wav.getnframes() / wav.getframerate():.1f} s of speech")
