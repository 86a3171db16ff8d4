"""The control socket: real sockets and a real thread; time is what a test says."""

import contextlib
import grp
import json
import os
import socket
import stat
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerec.capture.answers import RefusedError
from edgerec.capture.feed import FeedSource
from edgerec.service import control, control_client
from edgerec.service.commands import Takeover, answer, feed_command, status_command
from edgerec.service.control import MAX_CLIENTS, Control
from edgerec.service.control_client import IDLE_NS, MAX_LINE_BYTES, SLOW_NS
from edgerec.service.control_socket import ControlSocket, ControlSocketError
from tests.feeding import level
from tests.kiosk import FakeClock, S

PATIENCE_S = 20.0  # of real time, for the control thread


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sock"


def big(args):
    return {"text": "x" * int(args["bytes"])}


def broken(args):
    raise RuntimeError("a fault of ours")


def refused(args):
    def take(connection, received, reply):
        raise RefusedError("busy", "somebody else has it", "wait")

    return Takeover(take)


class Service:
    """A control thread with commands for tests."""

    def __init__(self, path, stack):
        self.clock = FakeClock()
        self.taken = []
        self.was_taken = threading.Event()
        commands = {
            "echo": lambda args: args,
            "big": big,
            "broken": broken,
            "refused": refused,
            "take": lambda args: Takeover(self._take),
        }
        listening = stack.enter_context(ControlSocket(path))
        self.control = stack.enter_context(Control(listening, commands, self.clock))
        self._path = path
        self._stack = stack

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stack.callback(client.close)
        client.connect(str(self._path))  # waits while too many are waiting already
        client.settimeout(PATIENCE_S)
        return client

    def _take(self, connection, received, reply):
        self._stack.callback(connection.close)
        self.taken.append((connection, received, reply))
        self.was_taken.set()


@pytest.fixture
def service(path):
    with contextlib.ExitStack() as stack:
        yield Service(path, stack)


def ask(client, request):
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    client.sendall(line + b"\n")
    return read_line(client)


def read_line(client):
    received = b""
    while not received.endswith(b"\n"):
        data = client.recv(65_536)
        if not data:
            return None
        received += data
    return json.loads(received)


def echo(number):
    return {"id": number, "command": "echo", "args": {"n": number}}


def echoed(number):
    return {"id": number, "ok": True, "result": {"n": number}}


# Requests and answers


def test_a_request_is_answered_under_its_id(service):
    client = service.connect()
    assert ask(client, echo(1)) == echoed(1)
    assert ask(client, {"id": "two", "command": "echo"}) == {"id": "two", "ok": True, "result": {}}
    assert ask(client, {"command": "echo"})["id"] is None


def test_requests_are_answered_in_order_however_they_are_cut(service):
    client = service.connect()
    lines = b"".join(json.dumps(echo(n)).encode() + b"\n" for n in range(50))
    for start in range(0, len(lines), 37):
        client.sendall(lines[start : start + 37])
    file = client.makefile()
    assert [json.loads(file.readline()) for _ in range(50)] == [echoed(n) for n in range(50)]


WRONG = [
    (b"", "malformed"),
    (b"nonsense", "malformed"),
    (b"[1]", "malformed"),
    (b"\xff\xfe", "malformed"),
    (b"[" * 60_000, "malformed"),
    (b'{"id": [1], "command": "echo"}', "malformed"),
    (b'{"id": true, "command": "echo"}', "malformed"),
    (b'{"id": NaN, "command": "echo"}', "malformed"),
    (b'{"command": "ecko"}', "unknown_command"),
    (b'{"command": 7}', "unknown_command"),
    (b'{"command": ["echo"]}', "unknown_command"),
    (b"{}", "unknown_command"),
    (b'{"command": "echo", "args": []}', "bad_args"),
    (b'{"command": "echo", "arg": {}}', "bad_args"),
    (b'{"command": "broken"}', "internal"),
    (b'{"command": "refused"}', "busy"),
]


@pytest.mark.parametrize(("line", "code"), WRONG)
def test_a_wrong_request_has_an_answer_with_a_hint_and_the_next_one_works(service, line, code):
    client = service.connect()
    error = ask(client, line)["error"]
    assert error["code"] == code
    assert error["message"] and error["hint"]
    assert ask(client, echo(2)) == echoed(2)


def test_a_misspelt_command_is_told_the_right_one(service):
    assert ask(service.connect(), {"command": "ehco"})["error"]["hint"] == "did you mean echo?"


def test_a_fault_of_ours_is_logged(service, caplog):
    ask(service.connect(), {"command": "broken"})
    assert "a fault of ours" in caplog.text


def test_a_connection_is_handed_over_with_what_was_read_and_the_answer_to_send(service):
    client = service.connect()
    client.sendall(json.dumps({"id": 3, "command": "take"}).encode() + b"\n{stream")
    assert service.was_taken.wait(PATIENCE_S)
    ((connection, received, reply),) = service.taken
    assert json.loads(reply) == {"id": 3, "ok": True, "result": {}}
    connection.setblocking(True)
    while len(received) < len(b"{stream"):
        received += connection.recv(99)
    assert received == b"{stream"
    client.sendall(b"more")
    assert connection.recv(99) == b"more"  # nobody else reads it any more
    assert ask(service.connect(), echo(4)) == echoed(4)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["id", "command", "args", "track", "x"]), inner, max_size=4
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_every_line_has_a_well_formed_answer(line):
    feeds = {"bot": FeedSource("bot", FakeClock())}
    commands = {"feed": feed_command(feeds), "status": status_command(dict)}
    answered = answer(line, commands)
    told = json.loads(answered.line)
    assert told["ok"] or told["error"].keys() == {"code", "message", "hint"}


# Clients that are no good


def test_a_line_that_never_ends_is_cut_off_and_told_why(service):
    client = service.connect()
    client.sendall(b"x" * MAX_LINE_BYTES)
    assert read_line(client)["error"]["code"] == "malformed"
    assert closed(client)
    assert ask(service.connect(), echo(1)) == echoed(1)


def closed(client):
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


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
    monkeypatch.setattr(control, "TICK_S", 0.01)
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
    clients = [service.connect() for _ in range(MAX_CLIENTS)]
    for client in clients:
        assert ask(client, echo(1)) == echoed(1)
    extra = service.connect()
    assert read_line(extra)["error"]["code"] == "busy"
    assert closed(extra)
    clients[0].close()
    assert ask(clients[1], echo(2)) == echoed(2)  # by now the thread has seen it go
    assert ask(service.connect(), echo(3)) == echoed(3)


def test_clients_are_cut_off_at_the_end(path):
    with socket.socket(socket.AF_UNIX) as client:
        with contextlib.ExitStack() as stack:
            Service(path, stack)
            client.connect(str(path))
            assert ask(client, echo(1)) == echoed(1)
        assert closed(client)


def test_limits_are_long_enough_for_a_person_and_a_loaded_machine():
    assert control_client.IDLE_NS >= 30 * S
    assert control_client.SLOW_NS >= 5 * S


# Feeds


def test_a_feed_command_is_answered_by_the_track_it_leads_to(path):
    source = FeedSource("bot", clock := FakeClock())
    commands = {"feed": feed_command({"bot": source})}
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(ControlSocket(path))
        stack.enter_context(Control(listening, commands, clock))
        stack.callback(source.close)

        def connect():
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE_S)
            client.connect(str(path))
            return client

        def feed(track):
            return {"id": 1, "command": "feed", "args": {"track": track}}

        assert ask(connect(), feed("user"))["error"]["code"] == "no_feed"
        assert ask(connect(), feed("both"))["error"]["code"] == "bad_args"
        assert ask(connect(), feed(["bot"]))["error"]["code"] == "bad_args"
        first, second = connect(), connect()
        first.sendall(json.dumps(feed("bot")).encode() + b"\n")
        while source._offered.empty():
            pass
        assert ask(second, feed("bot"))["error"] == {
            "code": "busy",
            "message": "another application feeds the bot track",
            "hint": "one connection per track at a time: wait until it has ended",
        }
        source.deliver(clock.now_ns())
        assert read_line(first) == {"id": 1, "ok": True, "result": {}}
        first.sendall(level(0.1))
        first.shutdown(socket.SHUT_WR)
        source.deliver(clock.now_ns())
        assert read_line(first)["error"]["code"] == "malformed"


# The socket's file


def test_the_socket_is_for_owner_and_group_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        with ControlSocket(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_the_socket_is_never_open_to_all_while_it_is_made(path, monkeypatch):
    seen = []

    def listen(self, backlog):
        seen.append(stat.S_IMODE(path.stat().st_mode))

    real_chmod = type(path).chmod

    def chmod(self, mode):
        seen.append(stat.S_IMODE(self.stat().st_mode))
        real_chmod(self, mode)

    monkeypatch.setattr(type(path), "chmod", chmod)
    before = os.umask(0)
    try:
        with ControlSocket(path):
            assert seen == [0o660]
    finally:
        os.umask(before)


def test_the_socket_is_given_to_a_group_before_anybody_can_connect(path, monkeypatch):
    given = []

    def chown(target, owner, group):
        with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
            early.connect(str(target))
        given.append((owner, group))

    monkeypatch.setattr(os, "chown", chown)
    name = grp.getgrgid(os.getgid()).gr_name
    with ControlSocket(path, name):
        assert given == [(-1, os.getgid())]


def test_a_group_that_there_is_not_is_named(path):
    with pytest.raises(ControlSocketError, match="there is no group no-such-group"):
        ControlSocket(path, "no-such-group")
    assert not path.exists()


def test_a_group_that_the_service_may_not_give_it_to_is_named(path, monkeypatch):
    def chown(target, owner, group):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    name = grp.getgrgid(os.getgid()).gr_name
    with pytest.raises(ControlSocketError, match=f"may not give it to group {name}"):
        ControlSocket(path, name)
    assert not path.exists()


def test_the_socket_is_removed_at_the_end(path):
    with ControlSocket(path):
        assert path.is_socket()
    assert not path.exists()


def test_what_a_dead_service_left_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    with ControlSocket(path) as made, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        made.listener.accept()[0].close()


def test_a_running_service_keeps_its_socket(path):
    with ControlSocket(path):
        with pytest.raises(ControlSocketError, match="a running service listens there"):
            ControlSocket(path)
        assert path.is_socket()


def test_the_socket_of_a_service_that_came_after_us_is_left_alone(path):
    ours = ControlSocket(path)
    path.unlink()
    with ControlSocket(path):
        ours.close()
        assert path.is_socket()


def test_a_missing_folder_is_named(path):
    with pytest.raises(ControlSocketError, match=r"folder .*/no/such does not exist"):
        ControlSocket(path.parent / "no/such/control.sock")


def test_something_else_in_its_place_is_not_touched(path):
    path.write_text("precious")
    with pytest.raises(ControlSocketError, match="something else is there"):
        ControlSocket(path)
    assert path.read_text() == "precious"


def test_an_error_names_the_socket_and_what_to_do(path):
    with pytest.raises(ControlSocketError) as caught:
        ControlSocket(path / "below")
    assert str(path) in str(caught.value)
    assert "control.socket" in str(caught.value)
