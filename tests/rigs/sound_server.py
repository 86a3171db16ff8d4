"""A real sound server with virtual devices, of the test's own."""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests import CHECKOUT

SCRIPT = CHECKOUT / "scripts" / "sound-server"
ON_BOTH = pytest.mark.parametrize("is_pipewire", [False, True], ids=["pulseaudio", "pipewire"])


class SoundServer:
    """A PulseAudio, or PipeWire, that a test may kill, freeze and start again.

    Attributes
    ----------
    env
        What a program must have in its environment to find it.
    """

    def __init__(self, folder: Path, *, is_pipewire: bool = False) -> None:
        self._folder = folder
        self.is_pipewire = is_pipewire
        self.start()
        self.env = dict(
            word.split("=", 1)
            for word in shlex.split((folder / "env").read_text())
            if word != "export"
        )

    def start(self) -> None:
        kind = ["--pipewire"] if self.is_pipewire else []
        subprocess.run([SCRIPT, *kind, self._folder], check=True, timeout=30)

    def signal(self, number: int) -> None:
        """Send it to all its processes that there are: without the first, others end."""
        for pid in (self._folder / "pid").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def kill(self) -> None:
        """Kill it, and leave no trace of it on the file system."""
        self.signal(signal.SIGKILL)
        (self._folder / "run" / "native").unlink()

    def play(self, wav: Path, *, sink: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["paplay", "-d", sink, wav], env=os.environ | self.env)

    def pactl(self, *arguments: str) -> str:
        command = ["pactl", *arguments]
        env = os.environ | self.env
        return subprocess.run(
            command, env=env, check=True, capture_output=True, text=True, timeout=10
        ).stdout
