"""Clients of the control socket that are no good: they are cut off, and hold nobody."""

import contextlib
import json
import os
import socket

import pytest

from edgerec.service.control import connection, server
from edgerec.service.control.connection import IDLE_NS, MAX_LINE_BYTES, SLOW_NS
from edgerec.service.control.server import MAX_CLIENTS
from tests.rigs.control_rig import Service, ask, closed, echo, echoed, read_line, serving
from tests.rigs.fakes import S

service = pytest.fixture(serving)


def test_a_line_that_never_ends_is_cut_off_and_told_why(service):
    client = service.connect()
    client.sendall(b"x" * MAX_LINE_BYTES)
    assert read_line(client)["error"]["code"] == "malformed"
    assert closed(client)
    assert ask(service.connect(), echo(1)) == echoed(1)


def test_the_longest_line_is_answered(service):
    client = service.connect()
    request = {"id": 1, "command": "echo", "args": {"x": ""}}
    request["args"]["x"] = "x" * (MAX_LINE_BYTES - 1 - len(json.dumps(request)))
    assert ask(client, request)["ok"]


def test_an_idle_client_is_cut_off_and_one_that_asks_is_not(service):
    idle, busy = service.connect(), service.connect()
    assert ask(idle, echo(0)) == echoed(0)
    service.clock.raw_ns += IDLE_NS - S
    assert ask(busy, echo(1)) == echoed(1)
    service.clock.raw_ns += 2 * S
    assert ask(busy, echo(2)) == echoed(2)
    assert closed(idle)


def test_an_idle_client_is_cut_off_though_nobody_else_asks(service, monkeypatch):
    monkeypatch.setattr(server, "TICK_S", 0.01)
    idle = service.connect()
    assert ask(idle, echo(0)) == echoed(0)
    service.clock.raw_ns += IDLE_NS + S
    assert closed(idle)


def test_a_client_that_reads_no_answers_is_cut_off_and_holds_nobody(service):
    slow = service.connect()
    for _ in range(20):
        slow.send(json.dumps({"command": "big", "args": {"bytes": 500_000}}).encode() + b"\n")
    assert ask(service.connect(), echo(1)) == echoed(1)
    service.clock.raw_ns += SLOW_NS
    assert ask(service.connect(), echo(2)) == echoed(2)
    with contextlib.suppress(ConnectionError):
        while slow.recv(65_536):
            pass


def test_an_answer_larger_than_a_socket_takes_at_once_arrives_whole(service):
    client = service.connect()
    assert len(ask(client, {"command": "big", "args": {"bytes": 3_000_000}})["result"]["text"]) == (
        3_000_000
    )
    assert ask(client, echo(1)) == echoed(1)


def test_one_that_asks_without_end_leaves_the_others_their_turn(service):
    greedy, other = service.connect(), service.connect()
    answered = []
    service.commands["count"] = lambda args: answered.append("greedy") or {}
    service.commands["mine"] = lambda args: answered.append("other") or {}
    many = MAX_LINE_BYTES // len(b'{"command": "count"}\n')
    with service.held():  # until both have asked
        greedy.sendall(b'{"command": "count"}\n' * many)
        other.sendall(b'{"command": "mine"}\n')
    assert read_line(other)["ok"]
    assert answered.index("other") <= 2


def test_a_client_that_goes_away_costs_nothing(service):
    for _ in range(3 * MAX_CLIENTS):
        gone = service.connect()
        gone.sendall(json.dumps({"command": "big", "args": {"bytes": 500_000}}).encode() + b"\n")
        gone.close()
    client = service.connect()
    while (told := ask(client, echo(1))) != echoed(1):
        assert told["error"]["code"] == "busy"
        client = service.connect()


def test_no_more_than_a_number_of_clients_at_a_time(service):
    clients = [
        service.connect() for _ in range(MAX_CLIENTS if os.getuid() == 0 else MAX_CLIENTS - 1)
    ]
    for client in clients:
        assert ask(client, echo(1)) == echoed(1)
    extra = service.connect()
    assert read_line(extra)["error"]["code"] == "busy"
    assert closed(extra)
    clients[0].close()
    assert ask(clients[1], echo(2)) == echoed(2)  # by now the thread has seen it go
    assert ask(service.connect(), echo(3)) == echoed(3)


def test_clients_are_cut_off_at_the_end(socket_path):
    with socket.socket(socket.AF_UNIX) as client:
        with contextlib.ExitStack() as stack:
            Service(socket_path, stack)
            client.connect(str(socket_path))
            assert ask(client, echo(1)) == echoed(1)
        assert closed(client)


def test_limits_are_long_enough_for_a_person_and_a_loaded_machine():
    assert connection.IDLE_NS >= 30 * S
    assert connection.SLOW_NS >= 5 * S
