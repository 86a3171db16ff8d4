"""Where the control socket is when nobody says so: for each user another, found by that user."""

import os
import stat

import pytest

from edgerec.service.control import socket as control_socket
from edgerec.service.control.socket import (
    ControlSocket,
    ControlSocketError,
    socket_to_make,
    sockets_to_try,
)

OTHER_USER = 4711


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without the system's service, and a user without a session."""
    for name in ("user", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(control_socket, "SYSTEM_FOLDER", tmp_path / "edgerec")
    monkeypatch.setattr(control_socket, "SESSION_FOLDERS", tmp_path / "user")
    monkeypatch.setattr(control_socket, "TEMPORARY_FOLDER", tmp_path / "tmp")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path


def with_service(machine, monkeypatch):
    (machine / "edgerec").mkdir()


def with_session(machine, monkeypatch):
    folder = machine / "user" / str(os.geteuid())
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def with_session_unnamed(machine, monkeypatch):
    (machine / "user" / str(os.geteuid())).mkdir()


def with_another_users_session(machine, monkeypatch):
    folder = machine / "theirs"
    folder.mkdir()
    os.chown(folder, OTHER_USER, -1) if os.geteuid() == 0 else folder.rmdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


def with_a_relative_name(machine, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", ".")


def with_nothing(machine, monkeypatch):
    pass


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (with_service, "edgerec"),
        (with_session, "user/{}/edgerec"),
        (with_session_unnamed, "user/{}/edgerec"),
        (with_another_users_session, "tmp/edgerec-{}"),
        (with_a_relative_name, "tmp/edgerec-{}"),
        (with_nothing, "tmp/edgerec-{}"),
    ],
)
def test_a_recorder_has_a_socket_that_the_same_users_commands_find(
    machine, monkeypatch, given, place
):
    given(machine, monkeypatch)
    path = socket_to_make()
    assert path.parent == machine / place.format(os.geteuid())
    with ControlSocket(path):
        assert next(tried for tried in sockets_to_try() if tried.exists()) == path


def test_the_folder_of_a_users_own_socket_is_for_that_user_only(machine):
    assert stat.S_IMODE(socket_to_make().parent.stat().st_mode) == 0o700


def test_another_user_has_another_socket(machine, monkeypatch):
    ours = socket_to_make()
    monkeypatch.setattr(os, "geteuid", lambda: OTHER_USER)
    assert ours not in sockets_to_try()
    assert len(sockets_to_try()) == 2


def test_a_user_who_may_not_write_to_the_services_folder_has_an_own_socket(machine, monkeypatch):
    (machine / "edgerec").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != machine / "edgerec")
    assert socket_to_make().parent == machine / "tmp" / f"edgerec-{os.geteuid()}"
    assert sockets_to_try()[1] == machine / "edgerec" / "control.sock"


def of_another_user(folder, monkeypatch):
    """All that is there is another user's."""
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: int(folder.name.removeprefix("edgerec-")))


def open_to_all(folder, monkeypatch):
    folder.mkdir()
    folder.chmod(0o777)


def a_link(folder, monkeypatch):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("made", "user"), [(of_another_user, OTHER_USER), (open_to_all, None), (a_link, None)]
)
def test_a_folder_that_others_may_write_to_is_neither_used_nor_believed(
    machine, monkeypatch, made, user
):
    folder = machine / "tmp" / f"edgerec-{user or os.geteuid()}"
    made(folder, monkeypatch)
    with pytest.raises(ControlSocketError, match="is open to other users"):
        socket_to_make()
    assert sockets_to_try() == (machine / "edgerec" / "control.sock",)


def test_a_folder_that_can_not_be_made_is_an_error_that_says_what_to_set(machine):
    (machine / "tmp").rmdir()
    with pytest.raises(ControlSocketError, match=r"No such file.*set control\.socket"):
        socket_to_make()
