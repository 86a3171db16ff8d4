"""The service in a user's session, as docs/service.md sets it up: upgraded, reinstalled, removed.

The container is that of the module, a Debian 12, or what EDGEREC_RELEASE says (trixie).
"""

import os
import shlex

import pytest

from tests import CHECKOUT
from tests.rigs.container import Container
from tests.rigs.debian import wheels

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("container"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a container"),
]

RELEASE = os.environ.get("EDGEREC_RELEASE", "bookworm")
INSTALL_S = 300.0
UPGRADE = "EDGEREC_WATCH_S=8 {}/scripts/upgrade --wheels /wheels"
INSTALL = "/checkout/scripts/install --wheels /wheels"
UNIT = "/etc/systemd/user/edgerec.service"
LINK = "/home/pi/.config/systemd/user/default.target.wants/edgerec.service"
RECORDINGS = "/home/pi/recordings"
CONFIG = "/etc/edgerec/edgerec.yaml"
SETTINGS = (
    "kiosk_id: k1\n"
    "recording: {{chunk_seconds: 1}}\n"
    "tracks: {{user: {{source: simulated}}, bot: {{source: simulated}}}}\n"
    "storage: {{utc_wait_s: 0, root: {root}}}\n"
)
OF_ANOTHER_FILE = (
    "[Service]\nExecStart=\n"
    "ExecStart=/opt/edgerec/bin/edgerec run --config /etc/edgerec/of-the-system.yaml\n"
)


class SessionKiosk(Container):
    """A container in which the user pi's session records."""

    def as_pi(self, command: str, **how) -> str:
        """Run a command as pi, in pi's session."""
        runtime = f"XDG_RUNTIME_DIR=/run/user/{self.run('id -u pi').strip()}"
        return self.run(f"runuser -u pi -- env {runtime} {command}", **how)

    def of_session(self, name: str) -> str:
        """Return one of systemd's properties of the session's service."""
        return self.as_pi(f"systemctl --user show --value -p {name} edgerec").strip()

    def published(self) -> int:
        """Count the chunks of the session's service."""
        return int(self.run(f"find {RECORDINGS} -name '*_chunk.json' | wc -l"))

    def records(self) -> None:
        """Wait until the session's service has published a further chunk."""
        before = self.published()
        self.wait_until(lambda: self.published() > before, "a chunk")

    def release(self) -> str:
        """Return the release in use."""
        return self.run("readlink -f /opt/edgerec").strip()

    def runs_the_release_in_use(self) -> bool:
        """Tell whether the session's process is of the release in use."""
        mapped = self.run(f"cat /proc/{self.of_session('MainPID')}/maps")
        return f" {self.release()}/" in mapped


@pytest.fixture(scope="module")
def set_up(tmp_path_factory):
    """Installed for the system, then put into pi's session by the commands of docs/service.md."""
    binds = {CHECKOUT: "/checkout", wheels(RELEASE): "/wheels"}
    kiosk = SessionKiosk(tmp_path_factory.mktemp("container"), RELEASE, binds)
    try:
        kiosk.boot()
        kiosk.run(INSTALL, timeout_s=INSTALL_S)
        kiosk.run("systemctl disable --now edgerec", timeout_s=120)
        kiosk.write(CONFIG, SETTINGS.format(root=RECORDINGS))
        kiosk.run(f"install -m 644 /checkout/systemd/edgerec-user.service {UNIT}")
        kiosk.run("usermod -aG edgerec pi; loginctl enable-linger pi")
        kiosk.wait_until(
            lambda: kiosk.run("ls /run/user/*/systemd/private", fails=True).startswith("/run"),
            "the user's systemd",
        )
        kiosk.as_pi("systemctl --user enable --now edgerec")
        yield kiosk
    finally:
        kiosk.close()


@pytest.fixture
def kiosk(set_up):
    """The one of all tests here."""
    set_up.watch()
    set_up.records()
    return set_up


def test_an_upgrade_restarts_the_sessions_service_and_leaves_the_systems_alone(kiosk):
    """Boots a container and installs; then installs a release, and watches it for some seconds."""
    before = kiosk.release()
    kiosk.run(f"echo '# of before' >>{UNIT}")
    said = kiosk.run(UPGRADE.format("/checkout"), timeout_s=INSTALL_S)
    assert said.splitlines()[-1] == (
        "upgrade: edgerec 0.1.0 is installed and has recorded as the service in the session of pi; "
        f"the one before is kept in {before}"
    )
    assert kiosk.runs_the_release_in_use()
    assert kiosk.release() != before
    assert kiosk.run(f"cat {UNIT}") == (CHECKOUT / "systemd" / "edgerec-user.service").read_text()
    assert kiosk.property("UnitFileState") == "disabled"
    assert kiosk.property("ActiveState") == "inactive"
    kiosk.records()


def test_an_upgrade_that_does_not_record_in_the_session_is_taken_back(kiosk):
    """Installs a release that fails."""
    before = kiosk.release()
    spoilt = kiosk.spoil_checkout("raise SystemExit(1)")
    kiosk.run(f"echo '# newer' >>{spoilt}/systemd/edgerec-user.service")
    said = kiosk.run(f"{UPGRADE.format(spoilt)}; echo status $?", timeout_s=INSTALL_S)
    assert "the service in the session of pi does not record with the new version" in said
    assert said.endswith("the old one runs again\nstatus 1\n")
    assert kiosk.release() == before
    assert kiosk.runs_the_release_in_use()
    assert "# newer" not in kiosk.run(f"cat {UNIT}")
    kiosk.records()


def test_a_package_that_is_not_the_locked_one_is_not_installed(kiosk):
    before, pid = kiosk.release(), kiosk.of_session("MainPID")
    kiosk.run("cp -r /wheels /root/wheels; echo more >>$(ls /root/wheels/pycparser-*.whl)")
    upgrade = UPGRADE.format("/checkout").replace("/wheels", "/root/wheels")
    said = kiosk.run(f"{upgrade}; echo status $?", timeout_s=INSTALL_S)
    assert "DO NOT MATCH THE HASHES" in said
    assert said.endswith("what was installed before is untouched\nstatus 1\n")
    assert (kiosk.release(), kiosk.of_session("MainPID")) == (before, pid)
    assert len(kiosk.run("ls /opt/edgerec-releases").split()) == 2  # with the one before


def test_installing_again_restarts_the_sessions_service_and_enables_nothing(kiosk):
    """Installs a release."""
    before = kiosk.release()
    said = kiosk.run(INSTALL, timeout_s=INSTALL_S)
    assert "install: the service in the session of pi runs" in said
    assert kiosk.release() != before
    assert kiosk.runs_the_release_in_use()
    assert kiosk.property("UnitFileState") == "disabled"
    assert kiosk.property("ActiveState") == "inactive"


def test_an_upgrade_restarts_both_where_both_record(kiosk):
    """Installs a release, and watches both for some seconds."""
    kiosk.write("/etc/edgerec/of-the-system.yaml", SETTINGS.format(root="/var/lib/edgerec"))
    kiosk.run("chgrp edgerec /etc/edgerec/of-the-system.yaml")
    kiosk.write("/etc/systemd/system/edgerec.service.d/file.conf", OF_ANOTHER_FILE)
    kiosk.run("systemctl daemon-reload; systemctl enable --now edgerec")
    pids = kiosk.property("MainPID"), kiosk.of_session("MainPID")
    said = kiosk.run(UPGRADE.format("/checkout"), timeout_s=INSTALL_S)
    both = "the system's service and the service in the session of pi"
    assert f"has recorded as {both}; the one before" in said
    now = kiosk.property("MainPID"), kiosk.of_session("MainPID")
    assert not set(pids) & {*now, "0"}
    assert "0" not in now


def test_nothing_is_removed_below_a_recorder_that_is_no_service(kiosk):
    command = f"edgerec run --config {CONFIG}"
    kiosk.write(CONFIG, SETTINGS.format(root="/home/pi/by-hand"))
    kiosk.run(
        f"nohup runuser -u pi -- env XDG_RUNTIME_DIR=/tmp/by-hand {command} >/dev/null 2>&1 &"
    )
    chunks = "find /home/pi/by-hand -name '*_chunk.json'"
    kiosk.wait_until(lambda: kiosk.run(chunks, fails=True).startswith("/home"), "a chunk")
    said = kiosk.run("/checkout/scripts/uninstall; echo status $?", timeout_s=120)
    assert said.endswith("end it, then remove it\nstatus 1\n")
    assert "stopping the service in the session of pi" in said
    kiosk.run("test -x /opt/edgerec/bin/edgerec")
    kiosk.run(f"pkill -TERM -u pi -f {shlex.quote(command)}")
    kiosk.wait_until(lambda: not kiosk.run("pgrep -u pi -f 'edgerec run'", fails=True), "its end")
    kiosk.write(CONFIG, SETTINGS.format(root=RECORDINGS))
    kiosk.as_pi("systemctl --user start edgerec")


def test_removing_it_stops_the_sessions_service_and_takes_its_unit_and_link_away(kiosk):
    said = kiosk.run("/checkout/scripts/uninstall --purge", timeout_s=120)
    assert "stopping the service in the session of pi" in said
    left = f"/opt/edgerec* /etc/edgerec {UNIT} {LINK} /etc/systemd/system/edgerec.service"
    assert kiosk.run(f"ls -d {left} 2>/dev/null", fails=True) == ""
    assert kiosk.of_session("LoadState") == "not-found"
    assert kiosk.run("getent group edgerec", fails=True) == ""
    assert kiosk.run(f"ls {RECORDINGS}/.work") == ""  # all of it was published
    assert kiosk.published()
