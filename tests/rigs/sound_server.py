"""A real sound server with virtual devices, of the test's own."""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests import CHECKOUT
from tests.rigs import deaths
from tests.rigs.waiting import PATIENCE_S

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
        self._names: dict[int, str] = {}
        self.is_pipewire = is_pipewire
        self.start()
        self.env = dict(
            word.split("=", 1)
            for word in shlex.split((folder / "env").read_text())
            if word != "export"
        )

    def start(self) -> None:
        kind = ["--pipewire"] if self.is_pipewire else []
        subprocess.run([SCRIPT, *kind, self._folder], check=True, timeout=PATIENCE_S)
        self._names = {pid: _name_of(pid) for pid in self.pids()}
        self.watch()

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self._folder / "pid").read_text().split()]

    def watch(self) -> None:
        """Have a test fail if it ends by itself; for one that outlives tests, in each of them."""
        deaths.watch(self, self._why_dead)

    def _why_dead(self) -> str | None:
        dead = [name for pid, name in self._names.items() if _name_of(pid) != name]
        return f"{', '.join(dead)} ended, see {self._folder}" if dead else None

    def signal(self, number: int) -> None:
        """Send it to all its processes that there are: without the first, others end."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill it, and leave no trace of it on the file system."""
        self.close()
        (self._folder / "run" / "native").unlink()

    def close(self) -> None:
        """Kill it, frozen or not."""
        deaths.forget(self)
        self.signal(signal.SIGKILL)

    @property
    def address(self) -> str:
        """Where its clients find it."""
        return self.env["PULSE_SERVER"]

    def play(self, wav: Path, *, sink: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["paplay", "-d", sink, wav], env=os.environ | self.env)

    def pactl(self, *arguments: str) -> str:
        command = ["pactl", *arguments]
        env = os.environ | self.env
        return subprocess.run(
            command, env=env, check=True, capture_output=True, text=True, timeout=PATIENCE_S
        ).stdout


def _name_of(pid: int) -> str:
    """Return a process's name; an empty one of a process that has ended."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text()
        name, _, rest = state.partition("(")[2].rpartition(")")
        return "" if rest.split()[0] == "Z" else name
    return ""
