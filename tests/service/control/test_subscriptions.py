"""Events over the control socket: real sockets and a real thread; time is what a test says."""

import contextlib
import json
import socket
from pathlib import Path

import pytest

from edgerec.audio import TimelineFrame
from edgerec.service.control.connection import IDLE_NS
from edgerec.service.control.protocol import Stream
from edgerec.service.control.server import MESSAGES_AT_ONCE, Control
from edgerec.service.control.socket import ControlSocket
from edgerec.service.control.subscriptions import subscribe_command
from edgerec.session.events import (
    QUEUE_EVENTS,
    EventBus,
    FilePublished,
    GapFound,
    Level,
    StateChanged,
)
from tests.rigs.fakes import FakeClock
from tests.rigs.waiting import PATIENCE_S, wait_for

SESSION = "5e550000"
CHUNK = FilePublished(
    path=Path("/r/a_chunk.wav"),
    sidecar=Path("/r/a_chunk.json"),
    session=SESSION,
    kind="chunk",
    what="chunk",
    sequence=3,
    start_frame=TimelineFrame(48_000),
    frames=16_000,
    end_reason="full",
)
GAP = GapFound(SESSION, "bot", 100, 20, "xrun")
LOST = GapFound(SESSION, None, 1, 2, "disk")
LEVEL = Level("user", 0, 4_000, -3.0, None)


class Service:
    """A control thread whose clients can subscribe to what a test announces."""

    def __init__(self, path, stack):
        self.events = EventBus()
        self.clock = FakeClock()
        self.commands = {"subscribe": subscribe_command(self.events), "echo": lambda args: args}
        self._path = path
        self._stack = stack
        listening = stack.enter_context(ControlSocket(path))
        self.control = stack.enter_context(Control(listening, self.commands, self.clock))

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stack.callback(client.close)
        client.connect(str(self._path))
        client.settimeout(PATIENCE_S)
        return Client(client)


class Client:
    """One connection, line by line."""

    def __init__(self, connection):
        self.socket = connection
        self._lines = connection.makefile("rb")

    def ask(self, command, **args):
        request = {"id": 1, "command": command, "args": args}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self.line()

    def line(self):
        """The next line as a JSON value; None at the end."""
        line = self._lines.readline()
        return json.loads(line) if line else None


@pytest.fixture
def service(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Service(tmp_path / "control.sock", stack)


def test_a_subscriber_is_told_of_each_event_in_a_line(service):
    client = service.connect()
    assert client.ask("subscribe") == {"id": 1, "ok": True, "result": {}}
    service.events.publish(CHUNK)
    service.events.publish(GAP)
    assert client.line() == {
        "event": "chunk",
        "session": SESSION,
        "file": "/r/a_chunk.wav",
        "sidecar": "/r/a_chunk.json",
        "what": "chunk",
        "sequence": 3,
        "start": 48_000,
        "frames": 16_000,
        "end_reason": "full",
    }
    assert client.line() == {
        "event": "gap",
        "session": SESSION,
        "track": "bot",
        "start": 100,
        "frames": 20,
        "reason": "xrun",
    }


def test_a_subscriber_hears_only_what_it_chose_and_levels_only_then(service):
    gaps, levels, plain = service.connect(), service.connect(), service.connect()
    gaps.ask("subscribe", events=["gap"])
    levels.ask("subscribe", events=["level"])
    plain.ask("subscribe")
    for event in (LEVEL, CHUNK, GAP):
        service.events.publish(event)
    assert gaps.line()["event"] == "gap"
    assert levels.line() == {
        "event": "level",
        "track": "user",
        "start": 0,
        "frames": 4_000,
        "peak_dbfs": -3.0,
        "rms_dbfs": None,
    }
    assert [plain.line()["event"] for _ in range(2)] == ["chunk", "gap"]


def test_a_subscriber_may_ask_for_something_too(service):
    client = service.connect()
    client.ask("subscribe", events=["gap"])
    assert client.ask("echo", n=1)["result"] == {"n": 1}
    service.events.publish(GAP)
    assert client.line()["event"] == "gap"
    client.ask("subscribe", events=["lost"])  # instead of the first
    service.events.publish(GAP)
    service.events.publish(LOST)
    assert client.line()["event"] == "lost"


@pytest.mark.parametrize(
    "args", [{"events": ["chunks"]}, {"events": "gap"}, {"events": [["gap"]]}, {"kinds": []}]
)
def test_a_wrong_choice_is_refused_with_what_there_is(service, args):
    error = service.connect().ask("subscribe", **args)["error"]
    assert error["code"] == "bad_args"
    assert "events" in error["message"] + error["hint"]


def test_a_subscriber_that_asks_nothing_is_not_idle(service):
    client, idle = service.connect(), service.connect()
    client.ask("subscribe")
    idle.ask("echo")
    service.clock.raw_ns += 2 * IDLE_NS
    service.events.publish(GAP)  # wakes the thread
    assert client.line()["event"] == "gap"
    assert idle.line() is None


def test_a_reader_that_is_too_slow_is_told_why_and_cut_off_and_the_others_hear_all(service):
    slow, quick = service.connect(), service.connect()
    slow.ask("subscribe")
    quick.ask("subscribe")
    told = StateChanged("disk", "failing", "x" * 4_000)
    for _ in range(3 * QUEUE_EVENTS):  # far beyond what sockets hold
        service.events.publish(told)
        assert quick.line()["event"] == "state"
    heard = 0
    while (line := slow.line())["event" if "event" in line else "ok"] == "state":
        heard += 1
    assert 0 < heard < 3 * QUEUE_EVENTS
    assert line["error"]["code"] == "too_slow"
    assert slow.line() is None


def test_a_reader_for_whom_much_waits_leaves_the_others_their_turn(service):
    asked = []

    class Waiting:
        """A number of lines for one reader; notes when it is asked for the next."""

        missed = 0

        def __init__(self, reader, lines):
            self._reader = reader
            self._lines = iter([b"{}\n"] * lines)

        def take(self):
            asked.append(self._reader)
            return next(self._lines, None)

        def close(self):
            pass

    many = 3 * MESSAGES_AT_ONCE
    service.commands["none"] = lambda args: Stream(lambda notify: Waiting("other", 0))
    service.commands["many"] = lambda args: Stream(lambda notify: Waiting("greedy", many))
    other, greedy = service.connect(), service.connect()
    other.ask("none")
    greedy.ask("many")
    for _ in range(many):
        assert greedy.line() == {}
    its_last = [at for at, reader in enumerate(asked) if reader == "greedy"][many - 1]
    assert "other" in asked[asked.index("greedy") : its_last]


def test_who_is_gone_costs_nothing(service):
    client = service.connect()
    client.ask("subscribe")
    client.socket.shutdown(socket.SHUT_RDWR)

    def nobody_is_left():
        service.events.publish(GAP)
        return not service.events.wanted(GapFound)

    wait_for(nobody_is_left)


def test_an_announcement_after_the_end_is_nobody_s_fault(tmp_path):
    with contextlib.ExitStack() as stack:
        service = Service(tmp_path / "control.sock", stack)
        service.connect().ask("subscribe")
        wake = service.control._waker.set
    wake()  # by an announcing thread that comes late
