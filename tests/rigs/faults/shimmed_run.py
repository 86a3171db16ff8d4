"""`edgerec` whose clocks and disk calls do what a file says, read again fifty times a second.

`python -m tests.rigs.faults.shimmed_run FAULTS ROOT run --config FILE`. FAULTS is JSON: `utc_s` and
`slept_s` are added to CLOCK_REALTIME and CLOCK_BOOTTIME, `calls` are the disk calls under ROOT that
fail with EIO. The wall clock is trusted: what depends on that is tried, too.
"""

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path

from edgerec import clock
from edgerec.cli import main
from edgerec.store import disk
from tests.rigs.failing_disk import LOOKS, look_of

LOOK_S = 0.02
FD_CALLS = ("write", "pwrite", "fsync", "fdatasync")
PATH_CALLS = ("open", "replace", "link", "unlink", "mkdir", "chmod", *LOOKS)
CALLS = (*FD_CALLS, *PATH_CALLS, "rename")


class Faults:
    """What is wrong just now; replaced as a whole by the thread that reads the file."""

    def __init__(self, file, root):
        self._file = file
        self._root = root
        self._said = {}
        self.read()
        threading.Thread(target=self._run, daemon=True, name="faults").start()

    def read(self):
        self._said = json.loads(self._file.read_text())

    def offset_ns(self, name):
        return round(self._said.get(name, 0) * 1e9)

    def fail(self, call, path):
        """Fail a disk call, where it is one that fails just now."""
        if call in self._said.get("calls", ()) and self._is_ours(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _is_ours(self, path):
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115
        return os.fspath(path).startswith(self._root)

    def _run(self):
        while True:
            time.sleep(LOOK_S)
            self.read()


def install(faults):
    """Put the faults in front of the clocks and of the disk calls."""

    def clocked(number, real=time.clock_gettime_ns):
        name = {time.CLOCK_REALTIME: "utc_s", time.CLOCK_BOOTTIME: "slept_s"}.get(number)
        return real(number) + (faults.offset_ns(name) if name else 0)

    def failing(name, real):
        def call(first, *args, **kwargs):
            if isinstance(first, int | str | os.PathLike):
                faults.fail(look_of(name, kwargs), first)
            return real(first, *args, **kwargs)

        return call

    time.clock_gettime_ns = clocked
    clock.kernel_clock_state = lambda: (True, 0.5)
    for name in (*FD_CALLS, *PATH_CALLS):
        setattr(os, name, failing(name, getattr(os, name)))
    disk._rename_noreplace = failing("rename", disk._rename_noreplace)


if __name__ == "__main__":
    install(Faults(Path(sys.argv[1]), sys.argv[2]))
    sys.argv[1:3] = []
    sys.exit(main())
