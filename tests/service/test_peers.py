"""Users share the control socket: what one of them does costs that one, and nobody else."""

import contextlib
import os
import socket

import pytest

from edgerec.service.control import server
from edgerec.service.peers import (
    KEPT_SEATS,
    MAX_CLIENTS,
    MAX_PEERS,
    MAX_REQUESTS,
    REQUESTS_PER_S,
    SEATS_EACH,
    Peers,
    uid_of,
)
from tests.rigs.control_rig import ask, closed, echo, echoed, read_line, serving
from tests.rigs.fakes import START_NS, S

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
    held = [comes(ANNA) for _ in range(SEATS_EACH)]
    assert None not in held
    assert comes(ANNA) is None
    held += [comes(BEN) for _ in range(MAX_CLIENTS - KEPT_SEATS - SEATS_EACH)]
    assert None not in held
    assert comes(CARL) is None
    assert comes(OWNER) is not None
    assert comes(OWNER) is None
    assert comes(ROOT) is not None
    assert comes(ROOT) is None


def test_a_seat_is_given_back_however_a_connection_ends(service, comes):
    for number in range(2 * SEATS_EACH):
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


def test_requests_count_over_all_connections_of_a_user_and_a_connection_is_one(service, comes):
    asked = 0
    client = comes(ANNA)
    while client is not None:
        asked += 2  # the connection and its request
        client.close()
        client = comes(ANNA)
        service.clock.raw_ns += server.RESPITE_NS // 100
    assert asked == pytest.approx(MAX_REQUESTS, abs=REQUESTS_PER_S // 10)
    service.clock.raw_ns += server.RESPITE_NS
    assert comes(BEN) is not None
    service.clock.raw_ns += S
    assert comes(ANNA) is not None


def test_root_and_the_owner_are_limited_in_each_connection_only(service, comes):
    for uid in (ROOT, OWNER):
        for _ in range(2 * MAX_REQUESTS // 10):
            client = comes(uid)
            assert all(ask(client, echo(n)) == echoed(n) for n in range(9))
            client.close()
            comes(ROOT).close()


def test_after_one_who_reconnects_too_fast_nobody_is_accepted_for_a_moment(service, comes):
    while (client := comes(ANNA)) is not None:
        assert service.control._accepting
        client.close()
    assert not service.control._accepting
    service.clock.raw_ns += server.RESPITE_NS
    assert comes(BEN) is not None


def test_no_more_users_are_remembered_than_count():
    known = Peers()
    for uid in range(1, 10 * MAX_PEERS):
        known.of(uid, START_NS)
    assert len(known._peers) <= MAX_PEERS
    busy = known.of(1, START_NS)
    assert busy.allowance.take(START_NS)
    assert known.of(2, START_NS) is not None
    assert known.of(1, START_NS) is busy


def test_users_beyond_those_that_count_are_refused_and_root_is_not():
    known = Peers()
    for uid in range(1, MAX_PEERS + 1):
        known.of(uid, START_NS).allowance.take(START_NS)
    assert known.of(MAX_PEERS + 1, START_NS) is None
    assert known.of(ROOT, START_NS) is not None
    assert known.of(OWNER, START_NS) is not None
    assert known.of(MAX_PEERS + 1, START_NS + S) is not None


def test_who_is_refused_is_told_why(service, monkeypatch):
    monkeypatch.setattr(server, "uid_of", lambda connection: ANNA)
    clients = [service.connect() for _ in range(SEATS_EACH + 1)]
    assert read_line(clients[-1])["error"]["code"] == "busy"
    assert closed(clients[-1])
