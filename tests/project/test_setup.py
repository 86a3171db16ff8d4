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
        self.simulated = "exit 0"
        self.write(self.commands / "dpkg", "exit 0")
        self.write(self.commands / "apt-cache", "exit 100")
        self.installed()
        self.apt_get("exit 0")

    def installed(self, *packages):
        """Let dpkg-query know these packages only."""
        lines = "".join(f"installed {package}\\n" for package in packages)
        # A removed package whose configuration files are left is not installed.
        lines += "config-files sox\\n"
        self.write(self.commands / "dpkg-query", f"printf '{lines}'; exit 1")

    def apt_get(self, body):
        """Let apt-get do this, but for its simulations."""
        simulated = f"if [[ $1 == --simulate ]]; then {self.simulated}; exit 0; fi"
        self.write(self.commands / "apt-get", f'{simulated}; echo "apt-get $*" >>"$LOG"; {body}')

    def conflict(self, package, gone):
        """Let there be a package that has to go for another one."""
        self.simulated = f'[[ " $* " != *" {package} "* ]] || echo \'Remv {gone} [1.4.2-1]\''
        self.apt_get("exit 0")

    def downloads(self, program, depends=""):
        """Let every package that is downloaded have this program, and depend on these."""
        self.apt_get("[[ $1 == install ]] || touch x.deb")
        self.write(
            self.commands / "dpkg-deb",
            f"if [[ $1 == -f ]]; then echo '{depends}'; exit; fi; "
            f"mkdir -p usr/bin; touch usr/bin/{program}; chmod +x usr/bin/{program}",
        )

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
        self.said = done.stderr.decode()
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
    "pulseaudio-utils",
    "libasound2-plugins",
    "alsa-utils",
    "sox",
    "ffmpeg",
    "rsync",
    "rclone",
    "syncthing",
    "stress-ng",
    "e2fsprogs",
    "mount",
    "debootstrap",
    "systemd-container",
]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def gets(calls):
    """What apt-get was to fetch or install; a machine without lists of packages updates, too."""
    return [call for call in calls if call.startswith(("apt-get download", "apt-get install"))]


def installs(calls):
    return [
        {word for word in call.split() if word in [*RUN, *TESTS, "pulseaudio"]}
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
    assert installs(calls) == [set(TESTS), {"pulseaudio"}]
    assert calls[-1] == "environment --tests"


def test_nothing_is_installed_for_which_another_package_would_have_to_go(machine):
    machine.conflict("gcc", "tcc")
    status, calls = machine.setup()
    assert (status, gets(calls)) == (1, [])
    assert "this would remove tcc" in machine.said


def test_pipewire_is_started_in_nobodys_session_that_had_none(machine):
    machine.installed(*RUN, "pipewire")
    units = ["wireplumber.service", "pipewire-pulse.service", "pipewire-pulse.socket"]
    listed = "".join(f"/usr/lib/systemd/user/{unit}\\n" for unit in units)
    listed += (
        "/usr/lib/systemd/user/pipewire-pulse.service.wants/x.service\\n/usr/bin/wireplumber\\n"
    )
    machine.write(
        machine.commands / "dpkg",
        f'[[ $* == "-L pipewire-pulse wireplumber" ]] && printf "{listed}"',
    )
    status, calls = machine.setup("--tests")
    assert status == 0
    assert [call for call in calls if call.startswith("systemctl")] == [
        f"systemctl --global --quiet disable {' '.join(sorted(units))}"
    ]


def test_pipewire_of_a_session_that_has_one_is_left_alone(machine):
    machine.installed(*RUN, *PIPEWIRE)
    status, calls = machine.setup("--tests")
    assert status == 0
    assert not any(call.startswith("systemctl") for call in calls)


def test_pulseaudio_is_only_unpacked_where_something_would_have_to_go_for_it(machine):
    machine.installed(*RUN, *TESTS, "libpulse0")
    machine.conflict("pulseaudio", "pipewire-alsa")
    machine.downloads("pulseaudio", "adduser, libpulse0 (= 17.0), libtdb1 (>= 1.2.7~), lsb-base")
    status, calls = machine.setup("--tests")
    assert status == 0
    assert (machine.checkout / ".tools" / "pulseaudio" / "usr" / "bin" / "pulseaudio").exists()
    downloaded, installed = gets(calls)
    assert downloaded == "apt-get download -qq pulseaudio"
    assert installed.startswith("apt-get install ")
    assert installed.endswith(" --no-install-recommends libtdb1")


@pytest.mark.parametrize(("known", "package"), [(False, "prometheus"), (True, "promtool")])
def test_promtool_is_fetched_once_and_its_server_is_not_installed(machine, known, package):
    machine.installed(*RUN, *TESTS, "pulseaudio")
    machine.promtool.unlink()
    machine.downloads("promtool")
    machine.write(
        machine.commands / "apt-cache", f"[[ $* == 'show promtool' ]] && {str(known).lower()}"
    )
    status, calls = machine.setup("--tests")
    assert status == 0
    assert gets(calls) == [f"apt-get download -qq {package}"]
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
