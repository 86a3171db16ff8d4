"""Requests on the control socket, and their answers: a real socket and a real thread."""

import contextlib
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerec.feeds.source import FeedSource
from edgerec.health.status import Status
from edgerec.service.control.commands import feed_command, status_command
from edgerec.service.control.protocol import answer
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from tests.rigs.control_rig import ask, echo, echoed, read_line, serving
from tests.rigs.fakes import FakeClock
from tests.rigs.feed_rig import level
from tests.rigs.waiting import PATIENCE_S, wait_for

service = pytest.fixture(serving)


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
    (b'{"id": 1' + b"0" * 400 + b', "command": "echo"}', "malformed"),
    (b'{"command": "echo", "args": {"n": ' + b"[" * 20 + b"]" * 20 + b"}}", "malformed"),
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
    commands = {"feed": feed_command(feeds), "status": status_command(Status)}
    answered = answer(line, commands)
    told = json.loads(answered.line)
    assert told["ok"] or told["error"].keys() == {"code", "message", "hint"}


def test_a_feed_command_is_answered_by_the_track_it_leads_to(socket_path):
    source = FeedSource("bot", clock := FakeClock())
    commands = {"feed": feed_command({"bot": source})}
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(ControlSocket(socket_path))
        stack.enter_context(Control(listening, commands, clock))
        stack.callback(source.close)

        def connect():
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE_S)
            client.connect(str(socket_path))
            return client

        def feed(track):
            return {"id": 1, "command": "feed", "args": {"track": track}}

        assert ask(connect(), feed("user"))["error"]["code"] == "no_feed"
        assert ask(connect(), feed("both"))["error"]["code"] == "bad_args"
        assert ask(connect(), feed(["bot"]))["error"]["code"] == "bad_args"
        first, second = connect(), connect()
        first.sendall(json.dumps(feed("bot")).encode() + b"\n")
        wait_for(lambda: not source._offered.empty())
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
