"""`edgerec replay`: what it prints, and how it ends."""

import json
import signal

import pytest

from edgerec.cli import main
from edgerec.cli.output import ProgressLine
from tests.rigs.alignment import noise
from tests.rigs.replay_rig import write_wav

pytestmark = pytest.mark.usefixtures("handlers_restored")


def test_ctrl_c_ends_the_command_with_a_list_of_what_it_published(tmp_path, capsys, monkeypatch):
    path = write_wav(tmp_path / "u.wav", noise(5 * 48_000, 48_000, 1))

    def press(_, done):
        if done > 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "seconds", press)
    assert main(["replay", "--user", str(path), "--out", str(tmp_path / "root")]) == 130
    told = capsys.readouterr()
    assert told.out.startswith("2 files under")
    assert told.err.endswith("edgerec replay: stopped before the end of the input\n")


def test_the_command_lists_what_it_published(tmp_path, capsys):
    path = write_wav(tmp_path / "u.wav", noise(2 * 48_000, 48_000, 1))
    root = tmp_path / "root"
    assert main(["replay", "--user", str(path), "--out", str(root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["error"] is None
    assert [one["kind"] for one in printed["files"]] == ["chunk", "session"]
    assert all(one["sidecar"].startswith(str(root)) for one in printed["files"])


def test_the_command_reports_damage_after_what_it_could_read(tmp_path, capsys):
    path = write_wav(tmp_path / "u.wav", noise(2 * 48_000, 48_000, 1))
    path.write_bytes(path.read_bytes()[:-1000])
    assert main(["replay", "--user", str(path), "--out", str(tmp_path / "root")]) == 1
    told = capsys.readouterr()
    assert "2 files under" in told.out
    assert "u.wav" in told.err
    assert "cut off" in told.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give --user FILE, --bot FILE, or both"),
        (["--user", "/no/such.wav"], 1, "reading /no/such.wav: No such file"),
    ],
)
def test_the_command_says_what_it_lacks(tmp_path, capsys, arguments, status, message):
    assert main(["replay", "--out", str(tmp_path / "root"), *arguments]) == status
    assert message in capsys.readouterr().err
