"""A kiosk whose files are picked up while it records, and who looks at what arrives."""

import hashlib
import json
import re
import shlex
import signal
import string
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from tests import CHECKOUT
from tests.rigs import deaths
from tests.rigs.waiting import PATIENCE_S, wait_for

KIT = CHECKOUT / "systemd" / "pickup"
AUDIO = {".wav", ".flac", ".opus"}
CHUNKS = 16
CHUNK_S = 0.5


class Kiosk:
    """`edgerec run` on two virtual devices, in a process of its own."""

    def __init__(self, folder, **recording):
        self.root = folder / "kiosk"
        self.ready = self.root / "ready"
        self.ready.mkdir(parents=True)  # the pickups may come first
        self._config = folder / "kiosk.yaml"
        track = {"source": "simulated", "simulate": {"seed": 1}}
        recording = {"chunk_seconds": CHUNK_S, "separate_tracks": True, **recording}
        self._config.write_text(
            json.dumps(
                {
                    "kiosk_id": "k1",
                    "recording": recording,
                    "tracks": {"user": track, "bot": track},
                    "storage": {"root": str(self.root), "utc_wait_s": 0},
                    "retention": {"min_free_bytes": 0},
                    "control": {"socket": str(folder / "control.sock")},
                }
            )
        )
        self.published = []

    def __enter__(self):
        command = [sys.executable, "-m", "edgerec", "run", "--config", str(self._config)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deaths.watch_process("the recorder", self._process, may_end=False)
        self._reader = threading.Thread(target=self._read_log, name="reader of the log")
        self._reader.start()
        return self

    def _read_log(self):
        for line in self._process.stderr:
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "published kind" in line:
                self.published.append(fields["file"])

    def __exit__(self, *_):
        deaths.forget(self._process)
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(PATIENCE_S) == 0
        finally:
            self._process.kill()
            self._reader.join()

    def wait_for_chunks(self):
        def are_there():
            return sum("_chunk" in name for name in self.audio) >= CHUNKS

        wait_for(are_there, look_s=0.1)

    @property
    def audio(self):
        """Names of the audio that was published; each has a sidecar."""
        return {name for name in tuple(self.published) if Path(name).suffix in AUDIO}

    @property
    def files(self):
        """Names of all that was published."""
        sidecars = {Path(name).with_suffix(".json").name for name in self.audio}
        return sidecars | set(self.published)


class Unit:
    """One of the kit's services, run the way systemd would, time and again."""

    def __init__(self, name, *options, **environment):
        lines = re.findall(r"^ExecStart=(.*)$", (KIT / name).read_text(), re.MULTILINE)
        self.commands = [
            [string.Template(word).substitute(environment, KIT=KIT) for word in shlex.split(line)]
            for line in lines
        ]
        for command in self.commands:
            command[1:1] = options
        self.log = ""

    def __call__(self):
        for command in self.commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            self.log += done.stdout + done.stderr


class Repeated:
    """Runs a pickup over and over; one that fails is a death (see `deaths`)."""

    def __init__(self, pickup):
        self._pickup = pickup
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pickup by {pickup}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        deaths.check()

    def _run(self):
        while not self._stopping.is_set():
            self._pickup()


class Watch:
    """Looks at the archive all the time, as whoever works with it would."""

    def __init__(self, archive):
        self._archive = archive
        self.first_sight = {}

    def __call__(self):
        for path in self._archive.rglob("*_*"):
            if path.suffix in AUDIO and path.name not in self.first_sight:
                content = path.read_bytes()
                self.first_sight[path.name] = hashlib.sha256(content).hexdigest()
        time.sleep(0.005)

    def assert_every_file_was_whole_at_first_sight(self):
        for sidecar in self._archive.rglob("*.json"):
            described = json.loads(sidecar.read_text())
            if described["kind"] != "session":
                assert self.first_sight[described["file"]] == described["sha256"]


def record(kiosk, *pickups):
    """Record some chunks with all the pickups running; then let each of them run once more."""
    with ExitStack() as running:
        for pickup in pickups:
            running.enter_context(Repeated(pickup))
        running.enter_context(kiosk)
        kiosk.wait_for_chunks()
    for pickup in pickups:
        pickup()


def names_in(folder, suffixes=None):
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    names = [name for name in names if not name.startswith(".")]
    return sorted(name for name in names if suffixes is None or Path(name).suffix in suffixes)


def assert_arrived(kiosk, archive):
    """Nothing is lost, nothing is there twice, and nothing was held up."""
    assert names_in(archive, AUDIO | {".json"}) == sorted(kiosk.files)
    done = subprocess.run(
        [sys.executable, "-m", "edgerec", "verify", "--json", str(archive)],
        capture_output=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["files"]) == (0, True, len(kiosk.audio))
    assert not [f for f in report["findings"] if f["severity"] == "error"]
    (closing,) = [json.loads(path.read_text()) for path in archive.rglob("*_session.json")]
    assert closing["losses"] == {}  # no frame was lost for want of the disk
    assert closing["end_reason"] == "stop"
