"""A player of noise into two sinks of PipeWire at once: the same frames in the same cycles.

PipeWire reports no latency, so no player can say when a sink plays what. But one node that is
linked to two sinks gives both the same quantum in every cycle, so what is recorded of them must
come out together.
"""

import os
import subprocess
import wave
from pathlib import Path

from tests.rigs import deaths
from tests.rigs.dated_player import RATE, played_noise
from tests.rigs.sound_server import SoundServer
from tests.rigs.waiting import wait_for


class LinkedPlayer:
    """Noise by ``pw-cat`` into the loudspeaker, and into what else is named.

    Parameters
    ----------
    latency_ms
        That it asks for, and by which it shortens the cycles.
    """

    def __init__(self, server: SoundServer, folder: Path, latency_ms: int, second_sink: str):
        self._env = os.environ | server.env
        noise = folder / "noise.wav"
        with wave.open(str(noise), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(played_noise(0).tobytes())
        command = ["pw-cat", "-p", "--target", "kiosk_speaker", f"--latency={latency_ms}ms", noise]
        with (folder / "pw-cat.log").open("w") as log:
            self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
        deaths.watch_process("pw-cat", self._process)
        ours = wait_for(lambda: self._ports("-o", "pw-cat:"))
        theirs = wait_for(lambda: self._ports("-i", f"{second_sink}:"))
        wait_for(lambda: self._is_linked(ours[0]))
        subprocess.run(["pw-link", ours[0], theirs[0]], env=self._env, check=True)

    def _ports(self, direction: str, prefix: str) -> list[str]:
        listed = subprocess.run(
            ["pw-link", direction], env=self._env, check=False, capture_output=True, text=True
        ).stdout
        return [line.strip() for line in listed.splitlines() if line.strip().startswith(prefix)]

    def _is_linked(self, port: str) -> bool:
        listed = subprocess.run(
            ["pw-link", "-l"], env=self._env, check=False, capture_output=True, text=True
        ).stdout
        return "|-> kiosk_speaker:" in listed.partition(port)[2]

    def close(self) -> None:
        deaths.forget(self._process)
        self._process.kill()
        self._process.wait()
