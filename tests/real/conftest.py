"""What the tests of real devices have in common: servers, each of a test's own."""

import shutil
from contextlib import ExitStack

import pytest

from tests import CHECKOUT
from tests.rigs.machine import Machine
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
    missing = {package for tool, package in NEEDS.items() if not shutil.which(tool)}
    if (CHECKOUT / ".tools" / "pulseaudio").exists():  # where its package would remove another
        missing.discard("pulseaudio")
    if missing:
        pytest.fail(f"the tests of real devices need: apt install {' '.join(sorted(missing))}")


@pytest.fixture
def is_pipewire():
    """Whether servers are PipeWires: not but where a test says so; see `ON_BOTH`."""
    return False


@pytest.fixture
def machine(witness, figures):
    """The machine, as the test's own processes have it."""
    machine = Machine(witness, figures)
    yield machine
    machine.close()


@pytest.fixture
def sound_server(tmp_path, monkeypatch, machine, is_pipewire):
    """Start a server; this process's own environment points to it too."""
    server = SoundServer(tmp_path / "sound", is_pipewire=is_pipewire)
    machine.watch(server.pids)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def rig(tmp_path, is_pipewire, machine):
    """Start servers whose microphones a test may take away; see `outages`."""
    with ExitStack() as stack:
        yield Rig(tmp_path, stack, machine, is_pipewire=is_pipewire)
