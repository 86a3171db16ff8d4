"""Hours of recording in a process of their own, and what memory and open files that takes."""

import ctypes
import json
import statistics
import subprocess
import sys
from pathlib import Path

from tests import CHECKOUT

PAGE_BYTES = 4096
LIBC = ctypes.CDLL(None)


def result_of(module, folder, *lengths, **how):
    """Run a module as a program that records so long into a folder, and prints JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder), *map(str, lengths)],
        cwd=CHECKOUT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )
    return json.loads(done.stdout)


def resident_bytes():
    """What is resident, but for what malloc holds in reserve: half a MiB by chance."""
    LIBC.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def medians(resident, *, first, each):
    """Of the first values, then of every `each`: malloc goes up and down by itself."""
    later = [resident[start : start + each] for start in range(first, len(resident), each)]
    return [statistics.median(values) for values in [resident[:first], *later]]
