"""What the tests of real devices have in common: servers, each of a test's own."""

import shutil
import signal
from contextlib import ExitStack

import pytest

from tests.rigs.outages import Rig
from tests.rigs.sound_server import SoundServer

NEEDS = {
    "pulseaudio": "pulseaudio",
    "pactl": "pulseaudio-utils",
    "paplay": "pulseaudio-utils",
    "pipewire": "pipewire",
    "pipewire-pulse": "pipewire-pulse",
    "wireplumber": "wireplumber",
}


@pytest.fixture(scope="session", autouse=True)
def _tools_are_there():
    """Fail, and don't skip: a real test that nobody runs proves nothing."""
    missing = sorted({package for tool, package in NEEDS.items() if not shutil.which(tool)})
    if missing:
        pytest.fail(f"the tests of real devices need: apt install {' '.join(missing)}")


@pytest.fixture
def is_pipewire():
    """Whether servers are PipeWires: not but where a test says so; see `ON_BOTH`."""
    return False


@pytest.fixture
def sound_server(tmp_path, monkeypatch, is_pipewire):
    """Start a server; this process's own environment points to it too."""
    server = SoundServer(tmp_path / "sound", is_pipewire=is_pipewire)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.signal(signal.SIGCONT)
    server.signal(signal.SIGKILL)


@pytest.fixture
def rig(tmp_path, is_pipewire):
    """Start servers whose microphones a test may take away; see `outages`."""
    with ExitStack() as stack:
        yield Rig(tmp_path, stack, is_pipewire=is_pipewire)
