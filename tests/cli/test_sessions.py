"""`edgerec start`, `stop` and the like against a service that answers what a test says."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgerec import cli
from edgerec.cli.process import Exit
from edgerec.config import ConfigError, Problem
from edgerec.engine.changes import Changes
from edgerec.service.control.commands import reload_command, session_command
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import FakeClock

COMMANDS = ("start", "stop", "pause", "resume", "rotate")


@contextmanager
def serving(path, ask):
    commands = {name: session_command(lambda: ask) for name in COMMANDS}
    if isinstance(ask, Exception):

        def refuse():
            raise ask

        commands = {name: session_command(refuse) for name in COMMANDS}
    with ControlSocket(path) as listening, Control(listening, commands, FakeClock()):
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_asked_is_told_to_people_and_programs(path, capsys, command):
    with serving(path, True):
        assert cli.main([command, "--socket", str(path)]) == 0
        people = capsys.readouterr().out
        assert cli.main([command, "--socket", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"changed": True}
    assert len(people.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_what_is_so_already_is_no_failure_and_told_apart(path, capsys, command):
    told = []
    for changes in (True, False):
        with serving(path, changes):
            assert cli.main([command, "--socket", str(path)]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] != told[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refusal_is_told_with_its_hint_and_code(path, capsys, command):
    with serving(path, RefusedError("not_recording", "nothing is being recorded", "start first")):
        assert cli.main([command, "--socket", str(path), "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.err == f"edgerec {command}: nothing is being recorded; start first\n"
    assert json.loads(shown.out)["error"] == {
        "code": "not_recording",
        "message": "nothing is being recorded",
        "hint": "start first",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_socket_is_enough_where_the_configuration_is_broken(path, tmp_path, monkeypatch, command):
    broken = tmp_path / "edgerec.yaml"
    broken.write_text("recordin: {}")
    monkeypatch.setenv("EDGEREC_CONFIG", str(broken))
    with serving(path, True):
        assert cli.main([command, "--socket", str(path)]) == 0
        assert cli.main([command]) == 78


def test_a_service_that_is_not_there_is_a_failure(path, capsys):
    assert cli.main(["start", "--socket", str(path), "--json"]) == 1
    shown = capsys.readouterr()
    assert "edgerec start: no service at" in shown.err
    assert json.loads(shown.out)["error"]["code"] == "unreachable"


# reload


@contextmanager
def reloading(path, reload):
    commands = {"reload": reload_command(reload)}
    with ControlSocket(path) as listening, Control(listening, commands, FakeClock()):
        yield


def test_what_a_reload_changes_is_told_to_people_and_programs(path, capsys):
    changes = Changes(("kiosk_id", "tracks.bot.device"), (), True, ("bot",))
    with reloading(path, lambda: changes):
        assert cli.main(["reload", "--socket", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "changed": ["kiosk_id", "tracks.bot.device"],
            "reopened": ["bot"],
            "new_session": True,
        }
        assert cli.main(["reload", "--socket", str(path)]) == 0
    said = capsys.readouterr().out
    assert "changed: kiosk_id, tracks.bot.device" in said
    assert "reopened: bot" in said
    assert "another begins" in said


def test_every_error_of_a_refused_file_is_told(path, capsys):
    problems = [Problem("a", "is wrong", "fix it"), Problem("b", "is wrong", "fix it")]

    def refuse():
        raise ConfigError(Path("/etc/kiosk.yaml"), problems)

    with reloading(path, refuse):
        assert cli.main(["reload", "--socket", str(path), "--json"]) == Exit.CONFIG
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["code"] == "bad_config"
    for problem in problems:
        assert str(problem) in shown.err


def test_a_reload_that_changes_nothing_says_so(path, capsys):
    with reloading(path, lambda: Changes((), (), False, ())):
        assert cli.main(["reload", "--socket", str(path)]) == 0
    assert capsys.readouterr().out == "nothing has changed\n"
