"""`edgerec status` against a control socket that answers what a test says."""

import json
import socket
from dataclasses import replace

import pytest

from edgerec import cli
from edgerec.cli.status_text import duration, status_lines
from edgerec.config import load
from edgerec.health.echo_history import EchoKnown
from edgerec.health.snapshot import status_of
from edgerec.health.status import Chirp, EchoStatus, Reason, Status
from edgerec.service.control import client
from edgerec.service.control import socket as control_socket
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.validation.typed import from_plain
from tests.rigs.fakes import FakeClock
from tests.rigs.made_statuses import FACTS, WELL, serving


@pytest.mark.parametrize(("facts", "code", "state"), [(WELL, 0, "ok"), (FACTS, 3, "failed")])
def test_the_exit_status_says_whether_all_is_well(tmp_path, capsys, facts, code, state):
    path = tmp_path / "control.sock"
    with serving(path, facts):
        assert cli.main(["status", "--socket", str(path), "--json"]) == code
        assert json.loads(capsys.readouterr().out)["state"] == state
        assert cli.main(["status", "--socket", str(path)]) == code
        assert capsys.readouterr().out.startswith(f"k1: {state}, ")


def test_a_service_that_is_not_there_is_a_failure(tmp_path, capsys):
    assert cli.main(["status", "--socket", str(tmp_path / "absent")]) == 1
    assert "edgerec status: no service at" in capsys.readouterr().err


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A user's own folder, and the system's, where no configuration names a socket."""
    folders = tmp_path / "own" / "edgerec", tmp_path / "system"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folders[0].parent))
    monkeypatch.setattr(control_socket, "SYSTEM_FOLDER", folders[1])
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "none.yaml")
    for folder in folders:
        folder.mkdir(parents=True)
    return [folder / "control.sock" for folder in folders]


def test_without_a_name_the_users_own_service_is_asked_and_else_the_systems(places, capsys):
    own, system = places
    with serving(system, FACTS):
        assert cli.main(["status"]) == 3
        with serving(own, WELL):
            assert cli.main(["status"]) == 0
    assert cli.main(["status"]) == 1
    absent = "No such file or directory"
    said = f"edgerec status: no service at {own}: {absent}, nor at {system}: {absent}; "
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("how", ["configured", "named"])
def test_where_a_socket_is_named_no_other_is_asked(places, tmp_path, how):
    file = tmp_path / "kiosk.yaml"
    file.write_text(f"control: {{socket: {tmp_path}/absent.sock}}\n")
    named = {
        "configured": ["--config", str(file)],
        "named": ["--socket", str(tmp_path / "absent.sock")],
    }
    with serving(places[0], WELL), serving(places[1], WELL):
        assert cli.main(["status", *named[how]]) == 1


def test_a_socket_that_a_dead_service_left_is_passed_by(places):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(places[0]))
    with serving(places[1], WELL):
        assert cli.main(["status"]) == 0


def test_a_request_to_a_service_that_is_busy_goes_to_no_other(places, monkeypatch):
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as first:
        silent.bind(str(places[0]))
        silent.listen(0)
        first.connect(str(places[0]))
        with serving(places[1], WELL):
            assert cli.main(["pause"]) == 1
            assert cli.main(["status"]) == 1


def test_one_that_listens_and_never_accepts_is_given_up(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as first:
        silent.bind(str(path))
        silent.listen(0)
        first.connect(str(path))
        assert cli.main(["status", "--socket", str(path)]) == 1
    assert "edgerec status: no service at" in capsys.readouterr().err


def test_people_read_what_is_wrong_first_and_what_to_do():
    shown = list(status_lines(status_of(FACTS)))
    assert shown[0] == "k1: failed, not recording"
    assert shown[1] == "  ! the user track is stalled: no frame for 1.2 s"
    assert shown[2].startswith("    -> plug the device in")


def test_people_read_devices_levels_gaps_and_room():
    assert list(status_lines(status_of(WELL)))[:6] == [
        "k1: ok, recording for 5 s",
        "user running for 1 min 30 s, pulse:mic",
        "     peak -3.0 dBFS, rms -24.0 dBFS, drift +31.2 ppm, within 18 us",
        "     gaps: 2 stall (2.5 s)",
        "bot  off",
        "disk 5.0 GB free, 250 hours left; 100 MB not fetched yet, 0 chunks to be published",
    ]


def test_a_status_that_lacks_what_an_older_service_does_not_report_is_shown():
    track = {"state": "running", "drift_ppm": 1.5, "echo_delay_ms": 60.0}
    older = {"kiosk": "k1", "state": "ok", "recording": True, "tracks": {"user": track}}
    shown = list(status_lines(from_plain(Status, older)))
    assert shown[0].startswith("k1: ok, ")
    assert "drift +1.5 ppm, within ? us" in shown[2]


def test_an_answer_that_is_no_status_is_a_failure_and_printed_as_it_is(tmp_path, capsys):
    path = tmp_path / "control.sock"
    commands = {"status": lambda _: {"state": "ok", "kiosk": 7}}
    with ControlSocket(path) as listening, Control(listening, commands, FakeClock()):
        assert cli.main(["status", "--socket", str(path)]) == 1
        assert "kiosk is 7, expected a text" in capsys.readouterr().err
        assert cli.main(["status", "--socket", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"state": "ok", "kiosk": 7}


def test_people_read_the_echo_of_weeks_and_the_last_chirp():
    chirp = Chirp("2026-11-22T10:15:00Z", True, 61.5, -20.0, -9.0)
    echo = EchoKnown(EchoStatus(61.0, -33.0, 60.0, -20.5, 34, (), chirp))
    shown = list(status_lines(status_of(replace(WELL, echo=echo))))
    assert shown[5:7] == [
        "echo 61 ms late at -33.0 dB, usually 60 ms late at -20.5 dB; 34 days kept",
        "last chirp 2026-11-22T10:15:00Z: 61.5 ms late, -20 dBFS",
    ]
    little = EchoKnown(EchoStatus(61.0, -33.0, kept_days=1, trouble="started again"))
    shown = list(status_lines(status_of(replace(WELL, echo=little))))
    assert shown[5].endswith("usually ? ms late at ? dB; 1 days kept")
    assert shown[6] == "echo: started again"


def test_an_unusual_echo_is_degraded(tmp_path):
    echo = EchoKnown(reasons=(Reason("echo_faint", "user", "12 dB fainter", "clean it"),))
    told = status_of(replace(WELL, echo=echo))
    assert (told.state, told.reasons[0].code) == ("degraded", "echo_faint")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(59.9, "59 s"), (60, "1 min 0 s"), (3_720, "1 h 2 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_has_the_two_units_that_matter(seconds, said):
    assert duration(seconds) == said
