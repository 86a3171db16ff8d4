"""Two real PortAudio devices whose crystals differ: how far apart their tracks are.

A PulseAudio pipe source delivers what is written into it when it is written. Two of them, fed at
a little more and a little less than 48,000 frames a second with the same sine as a function of
true time (CLOCK_MONOTONIC_RAW), are devices of known drift behind a real sound server, real
PortAudio and a real scheduler. The program is the one who feeds them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.audio import TRACKS
from edgerec.clock import raw_now_ns
from tests.rigs.figures import Figures
from tests.rigs.machine import Machine
from tests.rigs.recorded_kiosk import Kiosk
from tests.rigs.sound_server import SoundServer
from tests.rigs.true_sound import RATE, Track
from tests.rigs.witness import Witness

DEVICE_RATE = 48_000
TONE_HZ = 200.0
DRIFT_PPM = {"user": 87.0, "bot": -143.0}
FIRST_S = 60.0
PORTION_S = 30.0  # waited for at once: a wait has its limit
PIECE = RATE // 2
FIRST_PIECES = round(FIRST_S * RATE / PIECE)
FEEDER = "tests.campaigns.skewed"
FIFO_BYTES = 4096  # 43 ms; what waits in it while nobody records would come as a burst


@dataclass(frozen=True)
class Skewed:
    """What a recording of the two devices shows.

    Attributes
    ----------
    apart_us
        How far the tracks are apart every half second, less their constant latencies (the median
        after the first minute).
    drift_ppm, residual_us
        As the last sidecar reports them.
    tracks
        What was recorded.
    """

    apart_us: np.ndarray
    drift_ppm: dict[str, float]
    residual_us: dict[str, float]
    tracks: dict[str, Track]

    @property
    def stated_us(self) -> float:
        """How far apart they may be by what the sidecars say."""
        return sum(self.residual_us.values())


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


def measure(folder: Path, machine: Machine, seconds: float) -> Skewed:
    """Record the two devices with `edgerec run` and look at their phases."""
    with ExitStack() as stack:
        server = SoundServer(folder / "sound")
        stack.callback(server.close)
        machine.watch(server.pids)
        fifos = {name: folder / f"{name}.fifo" for name in TRACKS}
        for name, path in fifos.items():
            server.pactl(
                "load-module", "module-pipe-source", f"source_name=skewed_{name}", f"file={path}",
                "format=s16le", f"rate={DEVICE_RATE}", "channels=1",
            )  # fmt: skip
        feeder = stack.enter_context(
            subprocess.Popen([sys.executable, "-m", FEEDER, *(str(fifos[name]) for name in TRACKS)])
        )
        stack.callback(feeder.kill)
        machine.watch(lambda: [feeder.pid])
        devices = {name: {"device": f"pulse:skewed_{name}", "channels": 1} for name in TRACKS}
        kiosk = Kiosk(folder, machine, dict.fromkeys(TRACKS, server), devices, chunk_seconds=30)
        stack.callback(kiosk.close)
        kiosk.settle(0.0)
        while seconds > 0:
            kiosk.wait_for_audio(min(seconds, PORTION_S))
            seconds -= PORTION_S
        tracks = kiosk.finish()
    late_us = [_late_us(tracks[name].samples) for name in TRACKS]
    apart_us = late_us[0] - late_us[1]
    settled = apart_us[FIRST_PIECES:]
    last_file = max((folder / "root" / "ready").rglob("*_chunk.json"))
    last = json.loads(last_file.read_text())["tracks"]
    return Skewed(
        apart_us - np.median(settled if len(settled) else apart_us),
        {name: last[name]["drift_ppm"] for name in TRACKS},
        {name: last[name]["residual_us"] for name in TRACKS},
        tracks,
    )


def _late_us(track: np.ndarray) -> np.ndarray:
    whole = len(track) // PIECE
    turns = (np.arange(whole * PIECE) * TONE_HZ / RATE) % 1.0
    beat = (track[: whole * PIECE] * np.exp(-2j * np.pi * turns)).reshape(whole, PIECE).mean(1)
    return -np.unwrap(np.angle(beat)) / (2 * np.pi * TONE_HZ) * 1e6


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the campaign."""
    parser.add_argument("--minutes", type=float, default=10.0, help="of audio (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Measure, and print what was found; a gap, or more than is stated, is a failure."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        witness = Witness(folder / "witness")
        stack.callback(witness.close)
        machine = Machine(witness, Figures(lambda *_: None, witness, are_held=True))
        stack.callback(machine.close)
        skewed = measure(folder, machine, args.minutes * 60)
    first, settled = skewed.apart_us[:FIRST_PIECES], skewed.apart_us[FIRST_PIECES:]
    gaps = {name: track.gaps for name, track in skewed.tracks.items()}
    print(f"true drift {DRIFT_PPM} ppm, reported {skewed.drift_ppm}")
    print(f"stated residual {skewed.residual_us} us, gaps {gaps}")
    print(f"apart in the first 60 s: max {np.abs(first).max():.1f} us")
    if not len(settled):
        return 0
    rms, most = np.sqrt((settled**2).mean()), np.abs(settled).max()
    print(f"apart after 60 s: rms {rms:.1f} us, max {most:.1f} us")
    return 1 if any(gaps.values()) or most > skewed.stated_us else 0


if __name__ == "__main__":
    feed({name: Path(fifo) for name, fifo in zip(TRACKS, sys.argv[1:], strict=True)})
