"""A real sound server with virtual devices, of the test's own."""

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "sound-server"
NEEDS = {
    "pulseaudio": "pulseaudio",
    "pactl": "pulseaudio-utils",
    "paplay": "pulseaudio-utils",
}


class SoundServer:
    """A PulseAudio that a test may kill, freeze and start again.

    Attributes
    ----------
    env
        What a program must have in its environment to find it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.start()
        self.env = dict(
            word.split("=", 1)
            for word in shlex.split((folder / "env").read_text())
            if word != "export"
        )

    def start(self) -> None:
        subprocess.run([SCRIPT, self._folder], check=True, timeout=30)

    def signal(self, number: int) -> None:
        os.kill(int((self._folder / "pid").read_text()), number)

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


@pytest.fixture(scope="session", autouse=True)
def _tools_are_there():
    """Fail, and don't skip: a real test that nobody runs proves nothing."""
    missing = sorted({package for tool, package in NEEDS.items() if not shutil.which(tool)})
    if missing:
        pytest.fail(f"the tests of real devices need: apt install {' '.join(missing)}")


@pytest.fixture
def sound_server(tmp_path, monkeypatch):
    """Start a server; this process's own environment points to it too."""
    server = SoundServer(tmp_path / "sound")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)
