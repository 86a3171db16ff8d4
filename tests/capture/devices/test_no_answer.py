"""A sound server that does not answer: each way, with what to do."""

import socket

import pytest

from edgerec.capture.devices.sound_server import why_no_answer

USER = 1000


@pytest.fixture
def machine(tmp_path):
    """A PATH with pactl in it, and no session yet."""
    (tmp_path / "bin").mkdir()
    pactl = tmp_path / "bin" / "pactl"
    pactl.touch()
    pactl.chmod(0o755)
    return tmp_path, {"PATH": str(tmp_path / "bin"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def session(folder):
    (folder / "run" / "pulse").mkdir(parents=True)
    return (folder / "run").stat().st_uid


def listen(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_without_the_tool_it_is_to_be_installed(machine, tmp_path):
    _, env = machine
    no_answer = why_no_answer(env | {"PATH": str(tmp_path)}, USER)
    assert no_answer.why == "pactl is not installed"
    assert no_answer.hint == "apt install pulseaudio-utils"


def test_without_a_runtime_folder_there_is_no_way_to_a_session(machine):
    _, env = machine
    del env["XDG_RUNTIME_DIR"]
    no_answer = why_no_answer(env, USER)
    assert "XDG_RUNTIME_DIR is not set" in no_answer.why
    assert "export XDG_RUNTIME_DIR=/run/user/1000" in no_answer.hint


def test_without_a_session_it_is_to_linger(machine):
    folder, env = machine
    no_answer = why_no_answer(env, USER)
    assert no_answer.why == f"no session of user 1000 is open: there is no {folder}/run"
    assert "loginctl enable-linger 1000" in no_answer.hint


def test_a_session_of_another_user_is_not_ours(machine):
    folder, env = machine
    owner = session(folder)
    no_answer = why_no_answer(env, owner + 1)
    assert f"of user {owner}, this is user {owner + 1}" in no_answer.why
    assert no_answer.hint == f"run as user {owner}"


def test_a_session_without_a_server_is_to_start_one(machine):
    folder, env = machine
    owner = session(folder)
    no_answer = why_no_answer(env, owner)
    assert no_answer.why == f"no sound server is running: there is no {folder}/run/pulse/native"
    assert "systemctl --user" in no_answer.hint


def test_a_server_that_is_there_and_says_nothing_is_to_be_restarted(machine):
    folder, env = machine
    owner = session(folder)
    listen(folder / "run" / "pulse" / "native")
    no_answer = why_no_answer(env, owner)
    assert no_answer.why == f"the sound server at {folder}/run/pulse/native does not answer"
    assert "restart" in no_answer.hint
    own = env | {"PULSE_RUNTIME_PATH": str(folder / "run" / "pulse")}
    assert why_no_answer(own, owner) == no_answer


def test_a_server_that_was_named_is_named(machine):
    _, env = machine
    no_answer = why_no_answer(env | {"PULSE_SERVER": "unix:/run/x"}, USER)
    assert no_answer.why == "the sound server at PULSE_SERVER=unix:/run/x does not answer"


def test_no_reason_speaks_of_packages_that_are_there(machine):
    folder, env = machine
    for variables in (env, {"PATH": env["PATH"]}, env | {"PULSE_SERVER": "x"}):
        assert "pulseaudio-utils" not in str(why_no_answer(variables, USER))
    session(folder)
    assert "pulseaudio-utils" not in str(why_no_answer(env, USER))
