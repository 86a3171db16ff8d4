"""The pickup kit as it stands in systemd/pickup, run by the real programs while edgerec records.

Files come far faster than in the field, and the programs run without a pause, so that every run
meets files at every stage of being published.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from tests.rigs import deaths
from tests.rigs.pickup_kiosk import AUDIO, KIT, Kiosk, Unit, Watch, assert_arrived, names_in, record
from tests.rigs.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.real
NEEDS = ("rsync", "rclone", "syncthing")
SLOW_LINE = ("--bwlimit=1000",)
"""KiB/s: a file is on its way for a tenth of a second, and half files would be seen."""


@pytest.fixture(scope="module", autouse=True)
def _programs_are_there():
    missing = [program for program in NEEDS if not shutil.which(program)]
    if missing:
        pytest.fail(f"the tests of the pickup kit need: apt install {' '.join(missing)}")


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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A remote called `archive:`; to a folder on the same disk rclone would only rename."""
    port = free_port()
    (tmp_path / "archive").mkdir()
    (tmp_path / "rclone.conf").write_text(
        f"[archive]\ntype = webdav\nurl = http://127.0.0.1:{port}\nvendor = other\n"
    )
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    server = subprocess.Popen(
        ["rclone", "serve", "webdav", "--addr", f"127.0.0.1:{port}", tmp_path / "archive"]
    )
    deaths.watch_process("rclone's server", server, may_end=False)
    ask = ["rclone", "lsd", "archive:", "--retries", "1"]
    try:
        wait_for(lambda: subprocess.run(ask, check=False, timeout=PATIENCE_S).returncode == 0)
        yield "archive:"
    finally:
        deaths.forget(server)
        server.terminate()
        server.wait(PATIENCE_S)


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

    def __init__(self, home, folder):
        self.home, self.folder, self.port = home, folder, free_port()
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
        deaths.watch_process(f"syncthing of {self.home}", self._process, may_end=False)

    def stop(self):
        deaths.forget(self._process)
        self._process.terminate()
        self._process.wait(PATIENCE_S)


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
    """Syncthing looks at its folders every two seconds, and tells its peer later."""
    kiosk, inbox, archive = Kiosk(tmp_path), tmp_path / "inbox", tmp_path / "archive"
    near = Syncthing(tmp_path / "near", kiosk.ready)
    far = Syncthing(tmp_path / "far", inbox)
    collector, watch = Collector(inbox, archive), Watch(archive)
    near.start(far)
    far.start(near)
    try:
        record(kiosk, collector, watch)

        def all_is_taken():
            collector()
            watch()
            return not names_in(kiosk.ready, AUDIO | {".json"})

        wait_for(all_is_taken)
    finally:
        near.stop()
        far.stop()
    assert_arrived(kiosk, archive)
    watch.assert_every_file_was_whole_at_first_sight()
    assert {name: n for name, n in Counter(collector.taken).items() if n > 1} == {}
