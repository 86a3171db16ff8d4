"""The control socket's file: whose it is, what may be in its place, and that it goes."""

import errno
import grp
import os
import socket
import stat

import pytest

from edgerec.service.control.socket import ControlSocket, ControlSocketError


def test_the_socket_is_for_owner_and_group_whatever_the_umask(socket_path):
    before = os.umask(0o077)
    try:
        with ControlSocket(socket_path):
            assert stat.S_IMODE(socket_path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_the_socket_is_never_open_to_all_while_it_is_made(socket_path, monkeypatch):
    seen = []

    def listen(self, backlog):
        seen.append(stat.S_IMODE(socket_path.stat().st_mode))

    real_chmod = type(socket_path).chmod

    def chmod(self, mode):
        seen.append(stat.S_IMODE(self.stat().st_mode))
        real_chmod(self, mode)

    monkeypatch.setattr(type(socket_path), "chmod", chmod)
    before = os.umask(0)
    try:
        with ControlSocket(socket_path):
            assert seen == [0o660]
    finally:
        os.umask(before)


def test_the_socket_is_given_to_a_group_before_anybody_can_connect(socket_path, monkeypatch):
    given = []

    def chown(target, owner, group):
        with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
            early.connect(str(target))
        given.append((owner, group))

    monkeypatch.setattr(os, "chown", chown)
    name = grp.getgrgid(os.getgid()).gr_name
    with ControlSocket(socket_path, name):
        assert given == [(-1, os.getgid())]


def test_a_group_that_there_is_not_is_named(socket_path):
    with pytest.raises(ControlSocketError, match="there is no group no-such-group"):
        ControlSocket(socket_path, "no-such-group")
    assert not socket_path.exists()


def test_a_group_that_the_service_may_not_give_it_to_is_named(socket_path, monkeypatch):
    def chown(target, owner, group):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    name = grp.getgrgid(os.getgid()).gr_name
    with pytest.raises(ControlSocketError, match=f"may not give it to group {name}"):
        ControlSocket(socket_path, name)
    assert not socket_path.exists()


def test_the_socket_is_removed_at_the_end(socket_path):
    with ControlSocket(socket_path):
        assert socket_path.is_socket()
    assert not socket_path.exists()


def test_what_a_dead_service_left_is_replaced(socket_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
        dead.listen()
    assert socket_path.is_socket()
    with ControlSocket(socket_path) as made, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_path))
        made.listener.accept()[0].close()


def test_a_running_service_keeps_its_socket(socket_path):
    with ControlSocket(socket_path):
        with pytest.raises(ControlSocketError, match="a running service listens there"):
            ControlSocket(socket_path)
        assert socket_path.is_socket()


def test_one_that_listens_and_never_accepts_holds_nobody_up(socket_path):
    waiting = []
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_path))
        silent.listen(0)
        for _ in range(2):  # more than its queue holds
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            waiting[-1].connect_ex(str(socket_path))
        with pytest.raises(ControlSocketError, match="does not answer"):
            ControlSocket(socket_path)
        assert socket_path.is_socket()
    for client in waiting:
        client.close()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_kind_is_not_touched(socket_path, kind):
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(socket_path))
        with pytest.raises(ControlSocketError, match="control socket"):
            ControlSocket(socket_path)
        assert socket_path.is_socket()


def test_the_socket_of_a_service_that_came_after_us_is_left_alone(socket_path):
    ours = ControlSocket(socket_path)
    socket_path.unlink()
    with ControlSocket(socket_path):
        ours.close()
        assert socket_path.is_socket()


def test_a_missing_folder_is_named(socket_path):
    with pytest.raises(ControlSocketError, match=r"folder .*/no/such does not exist"):
        ControlSocket(socket_path.parent / "no/such/control.sock")


def test_something_else_in_its_place_is_not_touched(socket_path):
    socket_path.write_text("precious")
    with pytest.raises(ControlSocketError, match="this is not a socket"):
        ControlSocket(socket_path)
    assert socket_path.read_text() == "precious"


def test_an_error_names_the_socket_and_what_to_do(socket_path):
    with pytest.raises(ControlSocketError) as caught:
        ControlSocket(socket_path / "below")
    assert str(socket_path) in str(caught.value)
    assert "control.socket" in str(caught.value)


@pytest.mark.parametrize("call", ["stat", "unlink"])
def test_a_file_that_can_not_be_removed_at_the_end_is_told_and_ends_nothing(
    socket_path, monkeypatch, caplog, call
):
    with monkeypatch.context() as patch, ControlSocket(socket_path):
        patch.setattr(os, call, unable)
    assert "the control socket is left" in caplog.text
    assert str(socket_path) in caplog.text


def test_what_a_dead_service_left_and_can_not_be_removed_is_an_error_of_the_socket(
    socket_path, monkeypatch
):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    monkeypatch.setattr(os, "unlink", unable)
    with pytest.raises(ControlSocketError, match="Input/output error"):
        ControlSocket(socket_path)


def unable(*arguments, **how):
    raise OSError(errno.EIO, os.strerror(errno.EIO))
