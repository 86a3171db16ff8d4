"""Two real PortAudio devices whose crystals differ, and what edgerec makes of them.

A PulseAudio pipe source delivers what is written into it when it is written. Two of them, fed at
a little more and a little less than 48,000 frames a second with the same sine as a function of
true time (CLOCK_MONOTONIC_RAW), are devices of known drift behind a real sound server, real
PortAudio and a real scheduler. `scripts/measure-skewed-devices` measures for as long as it is told.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.audio import TRACKS
from edgerec.clock import raw_now_ns
from tests.rigs.sound_server import SoundServer

DEVICE_RATE = 48_000
RATE = 16_000
TONE_HZ = 200.0
DRIFT_PPM = {"user": 87.0, "bot": -143.0}
FIRST_S = 60.0
PIECE = RATE // 2
FIFO_BYTES = 4096  # 43 ms; what waits in it while nobody records would come as a burst


@dataclass(frozen=True)
class Skewed:
    """What a recording of the two devices shows.

    Attributes
    ----------
    apart_us
        How far the tracks are apart every half second, less their constant latencies (the median
        after the first minute).
    drift_ppm
        As the last sidecar reports it.
    gap_frames
        Of both tracks.
    """

    apart_us: np.ndarray
    drift_ppm: dict[str, float]
    residual_us: dict[str, float]
    gap_frames: int


def feed(fifos: dict[str, Path]) -> None:
    """Write the sine into the pipes for ever, each at its own crystal's pace."""
    start_ns = raw_now_ns()
    pipes = {name: os.open(path, os.O_RDWR | os.O_NONBLOCK) for name, path in fifos.items()}
    rates = {name: DEVICE_RATE * (1 + DRIFT_PPM[name] * 1e-6) for name in fifos}
    written = dict.fromkeys(fifos, 0)
    while True:
        time.sleep(0.01)
        for name, pipe in pipes.items():
            due = int((raw_now_ns() - start_ns) * 1e-9 * rates[name])
            seconds = np.arange(written[name], due) / rates[name]
            sine = np.sin(2 * np.pi * ((seconds * TONE_HZ) % 1.0))
            written[name] = due
            try:
                os.write(pipe, (20_000 * sine).astype("<i2").tobytes())
            except BlockingIOError:
                continue  # nobody records yet: like a microphone that nobody listens to


def measure(folder: Path, seconds: float) -> Skewed:
    """Record the two devices with `edgerec run` and look at their phases."""
    server = SoundServer(folder / "sound")
    fifos = {name: folder / f"{name}.fifo" for name in TRACKS}
    for name, path in fifos.items():
        server.pactl(
            "load-module", "module-pipe-source", f"source_name=skewed_{name}", f"file={path}",
            "format=s16le", f"rate={DEVICE_RATE}", "channels=1",
        )  # fmt: skip
    config = folder / "edgerec.yaml"
    tracks = {name: {"device": f"pulse:skewed_{name}", "channels": 1} for name in TRACKS}
    recording = {"sample_rate": RATE, "chunk_seconds": 30}
    storage = {"root": str(folder / "root")}
    # JSON is YAML.
    config.write_text(json.dumps({"tracks": tracks, "recording": recording, "storage": storage}))
    feeder = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--feed", *(str(fifos[name]) for name in TRACKS)]
    )
    recorder = subprocess.Popen(
        [sys.executable, "-m", "edgerec", "run", "--config", str(config)],
        env=os.environ | server.env,
    )
    try:
        time.sleep(seconds + 5)  # the devices open, and the session begins, within five seconds
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(30) == 0
    finally:
        recorder.kill()
        feeder.kill()
        server.close()
    return _evaluate(folder / "root" / "ready")


def _evaluate(ready: Path) -> Skewed:
    pcm, sidecars = [], []
    for path in sorted(ready.rglob("*_chunk.wav")):
        sidecars.append(json.loads(path.with_suffix(".json").read_text()))
        with wave.open(str(path)) as file:
            pcm.append(np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2))
    late_us = [_late_us(track) for track in np.concatenate(pcm).T]
    apart_us = late_us[0] - late_us[1]
    settled = apart_us[round(FIRST_S * RATE / PIECE) :]
    last = sidecars[-1]["tracks"]
    return Skewed(
        apart_us - np.median(settled if len(settled) else apart_us),
        {name: last[name]["drift_ppm"] for name in TRACKS},
        {name: last[name]["residual_us"] for name in TRACKS},
        sum(
            gap["frames"] for s in sidecars for name in TRACKS for gap in s["tracks"][name]["gaps"]
        ),
    )


def _late_us(track: np.ndarray) -> np.ndarray:
    whole = len(track) // PIECE
    turns = (np.arange(whole * PIECE) * TONE_HZ / RATE) % 1.0
    beat = (track[: whole * PIECE] * np.exp(-2j * np.pi * turns)).reshape(whole, PIECE).mean(1)
    return -np.unwrap(np.angle(beat)) / (2 * np.pi * TONE_HZ) * 1e6


def main() -> None:
    """Measure, and print what was found; or be the one who feeds the devices."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--feed", nargs=2, metavar="FIFO", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.feed:
        feed({name: Path(fifo) for name, fifo in zip(TRACKS, args.feed, strict=True)})
    with tempfile.TemporaryDirectory() as folder:
        skewed = measure(Path(folder), args.minutes * 60)
    first = round(FIRST_S * RATE / PIECE)
    rms, most = (
        np.sqrt((skewed.apart_us[first:] ** 2).mean()),
        np.abs(skewed.apart_us[first:]).max(),
    )
    print(f"true drift {DRIFT_PPM} ppm, reported {skewed.drift_ppm}")
    print(f"stated residual {skewed.residual_us} us, frames in gaps {skewed.gap_frames}")
    print(f"apart after 60 s: rms {rms:.1f} us, max {most:.1f} us")
    print(f"apart in the first 60 s: max {np.abs(skewed.apart_us[:first]).max():.1f} us")


if __name__ == "__main__":
    main()
