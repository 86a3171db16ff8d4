"""Users share the control socket: what one of them does costs that one, and nobody else."""

import contextlib
import os
import socket

import pytest

from edgerec.service.control import server
from edgerec.service.control.connection import uid_of
from edgerec.service.control.server import CLIENTS_EACH, KEPT_SEATS, MAX_CLIENTS
from tests.rigs.control_rig import ask, closed, echo, echoed, read_line, serving
from tests.rigs.fakes import S

ROOT, OWNER, ANNA, BEN, CARL = 0, 4711, 1001, 1002, 1003

service = pytest.fixture(serving)


@pytest.fixture(autouse=True)
def owner(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: OWNER)


@pytest.fixture
def comes(service, monkeypatch):
    """Connects as a user, and waits until that has been seen or refused."""
    users = []
    monkeypatch.setattr(server, "uid_of", lambda connection: users.pop(0))

    def connect(uid):
        users.append(uid)
        client = service.connect()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if ask(client, echo(0)) == echoed(0):
                return client
        return None

    return connect


def test_the_kernel_says_whose_a_connection_is():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert uid_of(ours) == os.getuid()


def test_a_user_who_holds_connections_leaves_some_to_others_and_to_the_operator(comes):
    held = [comes(ANNA) for _ in range(CLIENTS_EACH)]
    assert None not in held
    assert comes(ANNA) is None
    held += [comes(BEN) for _ in range(MAX_CLIENTS - KEPT_SEATS - CLIENTS_EACH)]
    assert None not in held
    assert comes(CARL) is None
    assert comes(OWNER) is not None
    assert comes(OWNER) is None
    assert comes(ROOT) is not None
    assert comes(ROOT) is None


def test_a_seat_is_given_back_however_a_connection_ends(service, comes):
    for number in range(2 * CLIENTS_EACH):
        client = comes(ANNA)
        assert client is not None, number
        if number % 3 == 0:
            client.sendall(b"x" * 100_000)
        elif number % 3 == 1:
            client.sendall(b'{"id": 1, "command": "take"}\n')
            assert service.was_taken.wait(10)
            service.was_taken.clear()
            continue
        else:
            assert ask(client, {"id": 1, "command": "refused"})["error"]["code"] == "busy"
            assert ask(client, echo(1)) == echoed(1)
        client.close()
        service.clock.raw_ns += S
        comes(ROOT).close()  # by now the thread has seen it go
        comes(ROOT).close()


def test_one_who_reconnects_all_the_time_takes_nobody_s_seat(comes):
    held = [comes(ANNA) for _ in range(CLIENTS_EACH - 1)]
    for _ in range(10 * MAX_CLIENTS):
        client = comes(ANNA)
        if client is not None:  # None: the thread has not seen the last one go
            client.close()
    assert comes(BEN) is not None
    assert comes(OWNER) is not None
    assert None not in held


def test_who_is_refused_is_told_why(service, monkeypatch):
    monkeypatch.setattr(server, "uid_of", lambda connection: ANNA)
    clients = [service.connect() for _ in range(CLIENTS_EACH + 1)]
    assert read_line(clients[-1])["error"]["code"] == "busy"
    assert closed(clients[-1])
