"""`edgerec doctor`: everything at once, and an exit status that scripts can use."""

import json

import pytest

from edgerec import cli
from edgerec.cli import doctor
from edgerec.config import load
from edgerec.doctor.checkup import Finding


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration that needs no device, on a machine with its clock set."""
    monkeypatch.setattr(doctor, "check_clock", lambda **how: [Finding("clock", "ok", "right")])
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
    wrong = "recording: {sample_rate: 3, chunk_second: 5}\n"
    config.write_text(f"{wrong}tracks: {{user: {{source: none}}, bot: {{source: simulated}}}}\n")
    assert cli.main(["doctor", "--json", "--config", str(config)]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    wrong = [one for one in findings if one["area"] == "config"]
    assert len(wrong) == 2
    assert all(one["severity"] == "failure" and one["fix"] for one in wrong)
    assert {"clock", "service"} <= {one["area"] for one in findings}


def test_a_hook_and_a_metrics_folder_that_are_not_there_are_warnings(config, capsys):
    with config.open("a") as file:
        file.write("hooks: {on_turn: [/no/such/program]}\nmetrics: {textfile: /no/such/x.prom}\n")
    assert cli.main(["doctor", "--json", "--config", str(config)]) == 3
    findings = json.loads(capsys.readouterr().out)["findings"]
    warnings = [one["told"] for one in findings if one["severity"] == "warning"]
    assert warnings == [
        "hooks.on_turn: there is no program /no/such/program",
        "metrics.textfile: there is no folder /no/such",
    ]


def test_without_any_file_it_is_a_failure(monkeypatch, tmp_path, capsys, config):
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "none.yaml")
    assert cli.main(["doctor"]) == 1
    assert "none.yaml: there is no configuration\n" in capsys.readouterr().out
