"""A kiosk that records under faults: `edgerec run` on a disk of its own, and who looks at it.

The user's track is a virtual device whose world is known, the bot's a feed. Where this is root, the
service runs as a user without rights, so that permissions and owners count.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from edgerec.clock import monotonic_now_ns
from edgerec.service.control.client import ServiceConnection, ServiceError
from tests import CHECKOUT
from tests.rigs.faults.feeds import play
from tests.rigs.machine import family
from tests.rigs.waiting import PATIENCE_S, wait_for

NOBODY = 65_534
SEED = 1
CHUNK_S = 1.0
STALL_S = 10.0  # so that losses are declared within a campaign's patience
LOOK_S = 0.25
HOOK = Path(__file__).with_name("odd_hook.py")


def can_step_down():
    """Whether this is root, and a user without rights can read this checkout."""
    if os.geteuid() != 0:
        return False
    asked = [sys.executable, "-c", "import tests.rigs.waiting"]
    done = subprocess.run(asked, cwd="/", env=_env(), user=NOBODY, group=NOBODY, extra_groups=[],
                          capture_output=True, check=False)  # fmt: skip
    return done.returncode == 0


def _env():
    return os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}


class Kiosk:
    """The service, its storage root below `place`, and what was fetched of it in `archive`.

    Parameters
    ----------
    folder
        For all that is not the storage root.
    place
        A folder, of a disk of its own if there is one.
    """

    def __init__(self, folder, place, *, as_nobody):
        self.folder = folder
        self.root = place / "root"
        self.archive = folder / "archive"
        self.file = folder / "edgerec.yaml"
        self.hook_mode = folder / "hook-mode"
        self.shimmed = {"calls": (), "utc_s": 0, "slept_s": 0}
        self.starts = []  # (CLOCK_MONOTONIC in ns, the world's beginning) of each process
        self.looks = []  # (CLOCK_MONOTONIC in ns, status or None: nobody answers)
        self.planted = set()  # ids of sessions that a fault has made up
        self._user = NOBODY if as_nobody else None
        self._faults, self._log = folder / "faults", folder / "log"
        self._socket = folder / "run" / "control.sock"
        self.archive.mkdir()
        self._socket.parent.mkdir()
        self.hook_mode.write_text("ok")
        self.shim()
        for path in (place, self._socket.parent):
            self.give(path)
        self.write_config()
        self.process = None
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._look_on, name="watch over the status")
        self._watch.start()

    @property
    def has_user(self):
        """Whether the service runs as a user without rights."""
        return self._user is not None

    def give(self, path):
        """Give a path to the service's user."""
        if self.has_user:
            os.chown(path, self._user, self._user, follow_symlinks=False)

    def write_config(self):
        document = {
            "kiosk_id": "k1",
            "recording": {"chunk_seconds": CHUNK_S, "late_seconds": 3.0},
            "tracks": {"user": {"source": "simulated", "simulate": {"seed": SEED}},
                       "bot": {"source": "feed"}},
            "storage": {"root": str(self.root), "utc_wait_s": 0, "stall_seconds": STALL_S},
            "retention": {"min_free_bytes": 0, "max_age_days": 7},
            "control": {"socket": str(self._socket)},
            "hooks": {"on_chunk": [sys.executable, "-I", str(HOOK), str(self.hook_mode)]},
        }  # fmt: skip
        self.file.write_text(json.dumps(document) + "\n")

    def shim(self, **changed):
        """Have clocks and disk calls do this from now on."""
        self.shimmed |= changed
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps(self.shimmed))
        fresh.replace(self._faults)

    def start(self):
        """Start the service, and wait until it captures."""
        self.launch()
        self.wait_until_it_captures()

    def launch(self):
        """Start the process."""
        self.mark = len(self.said())
        self._launched_ns = monotonic_now_ns()
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.rigs.faults.shimmed_run", str(self._faults),
                 str(self.root), "run", "--config", str(self.file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_env(),
                user=self._user, group=self._user, extra_groups=[] if self.has_user else None,
                umask=0o027, start_new_session=True,
            )  # fmt: skip

    def wait_until_it_captures(self, *, again=False):
        """Wait for its capture process; with `again` it is started again where it ends with 1."""

        def world():
            if again and self.process.poll() == 1:
                self.launch()
            assert self.process.poll() is None, self.news()
            return self._world_ns()

        begun_ns = wait_for(world, look_s=0.05, why=self.news)
        self.starts.append((self._launched_ns, begun_ns))

    def _world_ns(self):
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                for word in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    if word.startswith("--start-ns="):
                        return int(word.partition("=")[2])
        return None

    def end(self, how=signal.SIGTERM):
        """End the process and wait for that; return its exit status."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def children(self):
        """Return the process ids of capture children."""
        return [
            pid
            for pid in family(self.process.pid)
            if "edgerec.capture" in Path(f"/proc/{pid}/cmdline").read_text()
        ]

    def said(self):
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def news(self):
        """Return what this process has said, its end."""
        return self.said()[self.mark :][-3000:]

    def connect(self):
        return ServiceConnection([self._socket])

    def status(self):
        """Return the status; None: nobody answers."""
        try:
            with self.connect() as connection:
                return connection.request("status", {})
        except (ServiceError, OSError):
            return None

    def play_tone(self):
        """Push half a second of a tone into the bot's track; return whether it was taken."""
        with self.connect() as connection:
            return play(connection)

    def fetch(self):
        """Move what is published to the archive, as a sync job does."""
        for sidecar in sorted(self.root.glob("ready*/kiosk=*/date=*/*.json")):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._fetch(sidecar)

    def _fetch(self, sidecar):
        if sidecar.is_symlink() or not sidecar.is_file() or (self.archive / sidecar.name).exists():
            return
        described = json.loads(sidecar.read_text())
        if described["session"] in self.planted:
            return
        named = described.get("file")
        if named:
            if not sidecar.with_name(named).is_file():
                return  # it appears after its sidecar
            shutil.copyfile(sidecar.with_name(named), self.archive / named)
            sidecar.with_name(named).unlink()
        shutil.copyfile(sidecar, self.archive / sidecar.name)

    def close(self):
        self._closing.set()
        self._watch.join()
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)

    def _look_on(self):
        while not self._closing.wait(LOOK_S):
            status = self.status()
            self.looks.append((monotonic_now_ns(), status))

    def looks_since(self, since_ns):
        """Return the looks from an instant on CLOCK_MONOTONIC on, newest last."""
        return [look for look in tuple(self.looks) if look[0] >= since_ns]


def codes_of(status):
    """Return the words for what is wrong."""
    return {reason["code"] for reason in status["reasons"]} if status else {"no answer"}


def hold(seconds):
    """Let a fault last: the campaign's own time, of no assertion."""
    time.sleep(seconds)
