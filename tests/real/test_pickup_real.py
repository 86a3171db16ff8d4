"""The pickup kit as it stands in systemd/pickup, run by the real programs while edgerec records.

Files come far faster than in the field, and the programs run without a pause, so that every run
meets files at every stage of being published.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

KIT = Path(__file__).parents[2] / "systemd" / "pickup"
NEEDS = ("rsync", "rclone", "syncthing")
AUDIO = {".wav", ".flac", ".opus"}
CHUNKS = 16
CHUNK_S = 0.5
SLOW_LINE = ("--bwlimit=1000",)
"""KiB/s: a file is on its way for a tenth of a second, and half files would be seen."""
PATIENCE_S = 60.0
"""For that many chunks, on a machine that has much else to do."""
LAST_WORDS_S = 60.0
"""For a program that is told nothing but what lies in a folder, after recording has ended."""


@pytest.fixture(scope="module", autouse=True)
def _programs_are_there():
    missing = [program for program in NEEDS if not shutil.which(program)]
    if missing:
        pytest.fail(f"the tests of the pickup kit need: apt install {' '.join(missing)}")


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
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        return self

    def _read_log(self):
        for line in self._process.stderr:
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "published kind" in line:
                self.published.append(fields["file"])

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(timeout=60) == 0
        finally:
            self._process.kill()
            self._reader.join()

    def wait_for_chunks(self):
        deadline = time.monotonic() + PATIENCE_S
        while sum("_chunk" in name for name in self.audio) < CHUNKS:
            assert time.monotonic() < deadline
            time.sleep(0.1)

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
    """Runs a pickup over and over."""

    def __init__(self, pickup):
        self._pickup = pickup
        self._stopping = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self):
        try:
            while not self._stopping.is_set():
                self._pickup()
        except BaseException as failure:
            self._failure = failure


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


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_rsync_moves_every_file_once_and_whole_while_recording_goes_on(tmp_path, form):
    kiosk, archive = Kiosk(tmp_path, format=form, sample_rate=48_000), tmp_path / "archive"
    archive.mkdir()
    rsync = Unit("edgerec-rsync.service", *SLOW_LINE, READY=kiosk.ready, ARCHIVE=archive)
    watch = Watch(archive)
    record(kiosk, rsync, watch)
    assert_arrived(kiosk, archive)
    watch.assert_every_file_was_whole_at_first_sight()
    assert names_in(kiosk.ready) == []
    sent = Counter(Path(line).name for line in rsync.log.splitlines() if not line.endswith("/"))
    assert {name: count for name, count in sent.items() if count > 1} == {}
    assert set(sent) == kiosk.files


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A remote called `archive:`; to a folder on the same disk rclone would only rename."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "archive").mkdir()
    (tmp_path / "rclone.conf").write_text(
        f"[archive]\ntype = webdav\nurl = http://127.0.0.1:{port}\nvendor = other\n"
    )
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    server = subprocess.Popen(
        ["rclone", "serve", "webdav", "--addr", f"127.0.0.1:{port}", tmp_path / "archive"]
    )
    try:
        subprocess.run(["rclone", "lsd", "archive:", "--retries", "20"], check=True, timeout=60)
        yield "archive:"
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_rclone_moves_every_file_once_while_recording_goes_on(tmp_path, remote):
    kiosk = Kiosk(tmp_path)
    rclone = Unit("edgerec-rclone.service", READY=kiosk.ready, ARCHIVE=remote)
    record(kiosk, rclone)
    assert_arrived(kiosk, tmp_path / "archive")
    assert names_in(kiosk.ready) == []
    copied = re.findall(r"/([^/]+): Copied", rclone.log)
    assert Counter(copied) == dict.fromkeys(kiosk.files, 1)


COPY_WITH = {
    "rsync": ("rsync", "-a", "--files-from={}", "./", "{archive}"),
    "rclone": ("rclone", "copy", "--files-from-raw", "{}", ".", "archive:"),
}


@pytest.mark.parametrize("program", COPY_WITH)
def test_what_was_copied_is_acknowledged_and_what_was_not_is_not(tmp_path, remote, program):
    kiosk, archive = Kiosk(tmp_path), tmp_path / "archive"
    command = [word.replace("{archive}", str(archive)) for word in COPY_WITH[program]]
    acknowledged_too_early = []

    def copy():
        subprocess.run([KIT / "copy-and-ack", kiosk.ready, *command], check=True)
        arrived = set(names_in(archive))
        acks = (ack.stem for ack in kiosk.ready.rglob("*.ack"))
        acknowledged_too_early.extend(stem for stem in acks if f"{stem}.json" not in arrived)

    record(kiosk, copy)
    assert_arrived(kiosk, archive)
    assert acknowledged_too_early == []
    assert names_in(kiosk.ready, {".ack"}) == sorted(f"{Path(n).stem}.ack" for n in kiosk.published)
    assert names_in(kiosk.ready, AUDIO) == sorted(kiosk.audio)  # all of it is still there


class Syncthing:
    """One of two that know only each other, on this machine."""

    def __init__(self, home, folder, port):
        self.home, self.folder, self.port = home, folder, port
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(KIT / "syncthing.stignore", folder / ".stignore")
        subprocess.run(
            ["syncthing", "generate", "--no-default-folder", f"--home={home}"],
            check=True, capture_output=True,
        )  # fmt: skip
        tree = ET.parse(home / "config.xml")
        self.id = tree.getroot().find("device").get("id")

    def start(self, peer):
        tree = ET.parse(self.home / "config.xml")
        root = tree.getroot()
        settings = {
            "listenAddress": f"tcp://127.0.0.1:{self.port}",
            "globalAnnounceEnabled": "false",
            "localAnnounceEnabled": "false",
            "relaysEnabled": "false",
            "natEnabled": "false",
            "crashReportingEnabled": "false",
            "urAccepted": "-1",
            "reconnectionIntervalS": "1",
            "autoUpgradeIntervalH": "0",
        }
        options = root.find("options")
        for name, value in settings.items():
            for old in options.findall(name):
                options.remove(old)
            ET.SubElement(options, name).text = value
        root.find("gui").set("enabled", "false")
        device = ET.SubElement(root, "device", id=peer.id, name="peer")
        ET.SubElement(device, "address").text = f"tcp://127.0.0.1:{peer.port}"
        folder = ET.SubElement(
            root, "folder", id="ready", path=str(self.folder), type="sendreceive",
            rescanIntervalS="2", fsWatcherEnabled="true", fsWatcherDelayS="1",
        )  # fmt: skip
        for each in (self.id, peer.id):
            ET.SubElement(folder, "device", id=each)
        tree.write(self.home / "config.xml")
        self._process = subprocess.Popen(
            ["syncthing", "serve", f"--home={self.home}", "--no-browser", "--no-restart"],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"STNOUPGRADE": "1"},
        )

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=30)


class Collector:
    """Takes each recording out of a shared folder as soon as it and its sidecar are there."""

    def __init__(self, inbox, archive):
        self._inbox, self._archive = inbox, archive
        self.taken = []

    def __call__(self):
        for sidecar in sorted(self._inbox.rglob("*.json")):
            if sidecar.name.startswith("."):
                continue
            name = json.loads(sidecar.read_text()).get("file")
            audio = sidecar.with_name(name) if name else None
            if audio is None or audio.exists():
                for path in filter(None, (audio, sidecar)):
                    target = self._archive / path.relative_to(self._inbox)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.taken.append(path.name)
                    path.rename(target)
        time.sleep(0.05)


def test_syncthing_brings_every_file_once_and_taking_it_acknowledges_it(tmp_path):
    kiosk, inbox, archive = Kiosk(tmp_path), tmp_path / "inbox", tmp_path / "archive"
    near = Syncthing(tmp_path / "near", kiosk.ready, 22711)
    far = Syncthing(tmp_path / "far", inbox, 22712)
    collector, watch = Collector(inbox, archive), Watch(archive)
    near.start(far)
    far.start(near)
    try:
        record(kiosk, collector, watch)
        deadline = time.monotonic() + LAST_WORDS_S
        while names_in(kiosk.ready, AUDIO | {".json"}) and time.monotonic() < deadline:
            collector()
            watch()
        assert names_in(kiosk.ready, AUDIO | {".json"}) == []
    finally:
        near.stop()
        far.stop()
    assert_arrived(kiosk, archive)
    watch.assert_every_file_was_whole_at_first_sight()
    assert {name: n for name, n in Counter(collector.taken).items() if n > 1} == {}
