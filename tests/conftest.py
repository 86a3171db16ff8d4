"""What tests of several modules ask for."""

import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from edgerec.cli import interruption

# A machine that is busy with something else is slow, and no test is about that.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def handlers_restored():
    """What `Interruption` takes is given back."""
    before = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def memory_path():
    """Hundreds of recordings made at once need no real disk: a folder in memory."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)
