"""The input of all contenders: both sides of one conversation, as two WAV files.

Run as a program, it makes them from the virtual kiosk.
"""

import subprocess
import sys
import wave
from pathlib import Path
from typing import NamedTuple

RATE_HZ = 48_000
SEED = 2


class Inputs(NamedTuple):
    user: Path
    bot: Path


def make_inputs(folder: Path, minutes: int) -> Inputs:
    """Return the two files, made unless an earlier run has left them.

    In a process of its own: the benchmark must stay small, because Linux counts the memory of
    the process that starts a program into that program's peak.
    """
    inputs = Inputs(
        folder / f"user-{minutes}min-seed{SEED}.wav", folder / f"bot-{minutes}min-seed{SEED}.wav"
    )
    if not all(path.exists() for path in inputs):
        print(f"making {minutes} minutes of two {RATE_HZ} Hz mono inputs in {folder}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, __file__, *inputs, str(minutes)], check=True)
    return inputs


def _record(inputs: Inputs, minutes: int) -> None:
    from edgerec.audio import Block
    from edgerec.simulation.device import DeviceModel
    from edgerec.simulation.kiosk import VirtualKiosk

    device = DeviceModel(sample_rate=RATE_HZ)
    kiosk = VirtualKiosk(device, device, seed=SEED)
    partial = Inputs(*(path.with_suffix(".partial") for path in inputs))
    with wave.open(str(partial.user), "wb") as user, wave.open(str(partial.bot), "wb") as bot:
        for file in (user, bot):
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        for track, delivery in kiosk.deliveries(minutes * 60):
            if isinstance(delivery, Block):
                (user if track == "user" else bot).writeframesraw(delivery.pcm)
    for unfinished, path in zip(partial, inputs, strict=True):
        unfinished.rename(path)


if __name__ == "__main__":
    _record(Inputs(Path(sys.argv[1]), Path(sys.argv[2])), minutes=int(sys.argv[3]))
