"""scripts/setup on a made-up machine: commands that only note how they were called."""

import os
import shutil
import subprocess

import pytest

from tests import CHECKOUT

SCRIPTS = CHECKOUT / "scripts"


class Machine:
    """A checkout in a folder with a space in its name, and a system that does nothing real."""

    def __init__(self, folder):
        self.checkout = folder / "a checkout"
        self.commands = folder / "bin"
        self.log = folder / "log"
        self.log.touch()
        self.commands.mkdir()
        shutil.copytree(SCRIPTS, self.checkout / "scripts", ignore=shutil.ignore_patterns("*.py"))
        self.write(self.checkout / "scripts" / "environment", 'echo "environment $*" >>"$LOG"')
        self.write(self.commands / "sudo", 'exec "$@"')
        self.write(self.commands / "systemctl", 'echo "systemctl $*" >>"$LOG"')
        self.promtool = self.checkout / ".tools" / "promtool"
        self.promtool.parent.mkdir()
        self.write(self.promtool, "exit 0")
        self.installed()
        self.apt_get("exit 0")

    def installed(self, *packages):
        """Let dpkg-query know these packages only."""
        lines = "".join(f"installed {package}\\n" for package in packages)
        # A removed package whose configuration files are left is not installed.
        lines += "config-files sox\\n"
        self.write(self.commands / "dpkg-query", f"printf '{lines}'; exit 1")

    def apt_get(self, body):
        self.write(self.commands / "apt-get", f'echo "apt-get $*" >>"$LOG"; {body}')

    def write(self, path, body):
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def setup(self, *arguments):
        """Run scripts/setup; return its exit status and the calls that it made."""
        self.log.write_text("")
        path = f"{self.commands}:{os.environ['PATH']}"
        done = subprocess.run(
            [self.checkout / "scripts" / "setup", *arguments],
            env={"PATH": path, "LOG": str(self.log)},
            capture_output=True,
            check=False,
        )
        return done.returncode, self.log.read_text().splitlines()


RUN = [
    "python3",
    "python3-venv",
    "libportaudio2",
    "gcc",
    "libc6-dev",
    "pkg-config",
    "python3-dev",
    "libsystemd-dev",
]
PIPEWIRE = ["pipewire", "pipewire-pulse", "wireplumber"]
TESTS = [
    *PIPEWIRE,
    "pulseaudio",
    "pulseaudio-utils",
    "libasound2-plugins",
    "alsa-utils",
    "sox",
    "ffmpeg",
    "rsync",
    "rclone",
    "syncthing",
]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def installs(calls):
    return [
        {word for word in call.split() if word in RUN + TESTS}
        for call in calls
        if call.startswith("apt-get install")
    ]


def test_nothing_is_installed_where_nothing_is_missing(machine):
    machine.installed(*RUN)
    assert machine.setup() == (0, ["environment "])


def test_only_what_is_missing_is_installed(machine):
    machine.installed(*RUN[2:])
    status, calls = machine.setup()
    assert status == 0
    assert installs(calls) == [set(RUN[:2])]
    assert calls[-1] == "environment "


def test_tests_need_more_packages_and_say_so_to_the_environment(machine):
    machine.installed(*RUN)
    status, calls = machine.setup("--tests")
    assert status == 0
    assert installs(calls) == [set(TESTS)]
    assert calls[-1] == "environment --tests"


def test_pipewire_is_started_in_nobodys_session_that_had_none(machine):
    machine.installed(*RUN, "pipewire")
    status, calls = machine.setup("--tests")
    assert status == 0
    assert [call for call in calls if call.startswith("systemctl")] == [
        "systemctl --global --quiet disable pipewire-pulse.service wireplumber.service"
    ]


def test_pipewire_of_a_session_that_has_one_is_left_alone(machine):
    machine.installed(*RUN, *PIPEWIRE)
    status, calls = machine.setup("--tests")
    assert status == 0
    assert not any(call.startswith("systemctl") for call in calls)


def test_promtool_is_fetched_once_and_its_server_is_not_installed(machine):
    machine.installed(*RUN, *TESTS)
    machine.promtool.unlink()
    machine.apt_get(
        "[[ $1 == install ]] && exit 0; "
        "mkdir -p usr/bin && touch usr/bin/promtool && chmod +x usr/bin/promtool && touch x.deb"
    )
    machine.write(machine.commands / "dpkg-deb", 'tar -c -C "$(dirname "$2")" ./usr/bin/promtool')
    status, calls = machine.setup("--tests")
    assert status == 0
    assert [call for call in calls if "prometheus" in call] == ["apt-get download -qq prometheus"]
    assert machine.promtool.exists()
    assert [path.name for path in machine.promtool.parent.iterdir()] == ["promtool"]


def test_failed_install_is_tried_once_more_with_fresh_lists(machine):
    machine.apt_get('[[ $1 == update || $(grep -c "apt-get install" "$LOG") -gt 1 ]]')
    status, calls = machine.setup()
    assert status == 0
    assert [call.split()[1] for call in calls[-4:-1]] == ["install", "update", "install"]


def test_install_that_goes_on_failing_ends_the_set_up(machine):
    machine.apt_get("[[ $1 == update ]]")
    status, calls = machine.setup()
    assert status != 0
    assert len(installs(calls)) == 2
    assert not any(call.startswith("environment") for call in calls)


@pytest.mark.parametrize("arguments", [["--test"], ["--tests", "more"]])
def test_wrong_argument_ends_with_2_and_touches_nothing(machine, arguments):
    assert machine.setup(*arguments) == (2, [])
