"""What tests of several modules ask for."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def memory_path():
    """Hundreds of recordings made at once need no real disk: a folder in memory."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)
