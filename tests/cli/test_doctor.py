"""`edgerec doctor`: everything at once, and an exit status that scripts can use."""

import json

import pytest

from edgerec import cli
from edgerec.cli import doctor
from edgerec.service.checkup import Finding


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration that needs no device, on a machine with its clock set."""
    monkeypatch.setattr(doctor, "check_clock", lambda: [Finding("clock", "ok", "right")])
    monkeypatch.setattr(doctor, "check_power", list)
    monkeypatch.setattr(doctor, "check_disk", lambda config: [])
    file = tmp_path / "edgerec.yaml"
    file.write_text(
        "tracks: {user: {source: simulated}, bot: {source: simulated}}\n"
        f"storage: {{root: {tmp_path}/root}}\ncontrol: {{socket: {tmp_path}/control.sock}}\n"
    )
    return file


def test_a_machine_in_order_ends_with_0(config, capsys):
    assert cli.main(["doctor", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"[ ok ] config: {config} is in order"
    assert any(line.startswith("[note] service: not running") for line in lines)


@pytest.mark.parametrize(("severity", "code"), [("note", 0), ("warning", 3), ("failure", 1)])
def test_the_exit_status_is_that_of_the_worst(config, capsys, monkeypatch, severity, code):
    monkeypatch.setattr(doctor, "check_power", lambda: [Finding("power", severity, "hot", "cool")])
    assert cli.main(["doctor", "--config", str(config)]) == code
    assert "       -> cool" in capsys.readouterr().out


def test_every_error_of_the_configuration_is_a_finding_and_the_rest_is_looked_at(config, capsys):
    config.write_text("recording: {sample_rate: 3, chunk_second: 5}\n")
    assert cli.main(["doctor", "--json", "--config", str(config)]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    wrong = [one for one in findings if one["area"] == "config"]
    assert len(wrong) == 2
    assert all(one["severity"] == "failure" and one["fix"] for one in wrong)
    assert {"clock", "service"} <= {one["area"] for one in findings}
