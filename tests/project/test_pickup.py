"""The pickup kit: what it says agrees with edgerec, and what it lists is what there is to fetch."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgerec.config import Config
from tests import CHECKOUT

ROOT = CHECKOUT
KIT = ROOT / "systemd" / "pickup"
UNITS = ("edgerec-rsync.service", "edgerec-rclone.service")


@pytest.fixture
def ready(tmp_path):
    """Two chunks and the record that closes their session, in a folder with a space."""
    folder = tmp_path / "the files" / "kiosk=k1" / "date=2026-11-22"
    folder.mkdir(parents=True)
    for name in ("a_0_chunk.json", "a_0_chunk.wav", "a_1_chunk.flac", "a_1_chunk.json"):
        (folder / name).touch()
    (folder / "a_0_session.json").touch()
    (folder / "draft.tmp").touch()
    hidden = tmp_path / "the files" / ".stfolder"
    hidden.mkdir()
    (hidden / "b_0_chunk.wav").touch()
    return tmp_path / "the files"


def copy(ready, *command):
    """Run copy-and-ack; return its status and what it would have copied, in its order."""
    done = subprocess.run(
        [KIT / "copy-and-ack", ready, *command], check=False, capture_output=True, text=True
    )
    return done.returncode, [Path(line).name for line in done.stdout.splitlines()]


def acknowledged(ready):
    return sorted(path.name for path in ready.rglob("*.ack"))


ALL = {"a_0_chunk.json", "a_0_chunk.wav", "a_1_chunk.flac", "a_1_chunk.json", "a_0_session.json"}


def test_recordings_are_copied_with_their_sidecars_and_then_acknowledged(ready):
    status, listed = copy(ready, "cat", "{}")
    assert status == 0
    assert len(listed) == len(ALL)
    assert set(listed) == ALL
    assert listed.index("a_0_chunk.json") < listed.index("a_0_chunk.wav")
    assert acknowledged(ready) == ["a_0_chunk.ack", "a_0_session.ack", "a_1_chunk.ack"]


def test_what_is_listed_is_found_from_the_folder_that_the_command_runs_in(ready):
    status, _ = copy(ready, "xargs", "-a", "{}", "ls")
    assert status == 0


def test_paths_are_plain_for_rclone_skips_others_without_a_word(ready):
    copy(ready, "cp", "{}", "listed")
    paths = (ready / "listed").read_text().splitlines()
    assert all(path.startswith("kiosk=k1/date=2026-11-22/a_") for path in paths)


def test_what_is_acknowledged_is_not_copied_again(ready):
    folder = ready / "kiosk=k1" / "date=2026-11-22"
    (folder / "a_0_chunk.ack").touch()
    _, listed = copy(ready, "cat", "{}")
    assert set(listed) == ALL - {"a_0_chunk.json", "a_0_chunk.wav"}
    assert copy(ready, "echo", "again") == (0, [])


def test_a_command_that_fails_acknowledges_nothing_and_its_status_is_told(ready):
    assert copy(ready, "sh", "-c", "exit 12")[0] == 12
    assert acknowledged(ready) == []


def test_without_a_command_it_says_how_it_is_used(ready):
    assert copy(ready)[0] == 2


def test_its_defaults_are_those_of_the_configuration():
    text = (KIT / "pickup.env").read_text()
    assert re.search("^READY=(.+)$", text, re.MULTILINE)[1] == f"{Config().storage.root}/ready"


@pytest.mark.parametrize("unit", UNITS)
def test_jobs_run_as_the_user_that_records_for_nobody_else_may_delete(unit):
    def user(text):
        return re.findall("^(?:User|Group)=.+$", text, re.MULTILINE)

    service = (ROOT / "systemd" / "edgerec.service").read_text()
    assert user((KIT / unit).read_text()) == user(service)


@pytest.mark.parametrize("unit", UNITS)
def test_units_name_only_files_that_the_kit_has(unit):
    text = (KIT / unit).read_text()
    named = re.findall(r"\$\{KIT\}/([\w.-]+)", text)
    named += re.findall(r"^EnvironmentFile=/etc/edgerec/pickup/(.+)$", text, re.MULTILINE)
    assert len(named) == {"edgerec-rsync.service": 5, "edgerec-rclone.service": 3}[unit]
    assert all((KIT / name).is_file() for name in named)
    assert (KIT / unit).with_suffix(".timer").is_file()


def settings(unit, name):
    return re.findall(f"^{name}=(.*)$", (KIT / unit).read_text(), re.MULTILINE)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
@pytest.mark.parametrize(
    ("unit", "at_most"),
    [*((KIT / unit, 3.0) for unit in UNITS), (ROOT / "systemd" / "edgerec.service", 2.0)],
)
def test_units_are_as_hardened_as_is_said(unit, at_most):
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    rated = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", rated)[1]) <= at_most


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_job_may_write_is_finished_recordings_and_nothing_that_it_runs(unit):
    assert settings(unit, "ReadWritePaths") == [f"-{Config().storage.root}/ready"]
    assert settings(unit, "ProtectSystem") == ["strict"]
    assert settings(unit, "ProtectHome") == ["yes"]
    assert "HOME=/nonexistent" in settings(unit, "Environment")


def test_rclone_reads_roots_configuration():
    (told,) = [s for s in settings(UNITS[1], "Environment") if s.startswith("RCLONE_CONFIG=")]
    assert told == "RCLONE_CONFIG=/etc/edgerec/pickup/rclone.conf"


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh here")
def test_ssh_reads_nothing_of_a_home(tmp_path):
    first, _ = settings(UNITS[0], "ExecStart")
    assert '"--rsh=/usr/bin/ssh -F ${KIT}/ssh_config"' in first
    command = ["ssh", "-G", "-F", KIT / "ssh_config", "archive.example"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    assert told["identityfile"] == "/etc/edgerec/pickup/ssh_key"
    assert told["userknownhostsfile"] == "/etc/edgerec/pickup/known_hosts"
    assert told["identitiesonly"] == told["batchmode"] == "yes"
    assert told["stricthostkeychecking"] in ("yes", "true")
    assert "~/" not in said.replace("controlpath", "")


def test_no_job_removes_folders_into_which_edgerec_may_be_publishing():
    for unit in UNITS:
        assert "empty-src-dirs" not in (KIT / unit).read_text()


def test_document_names_every_file_of_the_kit():
    text = (ROOT / "docs" / "pickup.md").read_text()
    assert [path.name for path in KIT.iterdir() if path.name not in text] == []
