"""What tests of several modules ask for."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with something else is slow, and no test is about that.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def memory_path():
    """Hundreds of recordings made at once need no real disk: a folder in memory."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)
