"""`edgerec mark`, and the command behind it."""

import json

import pytest

from edgerec import cli
from edgerec.service.control.commands import mark_command
from edgerec.service.control.protocol import answer
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import FakeClock


class Marked:
    """Remembers the marks it is given."""

    def __init__(self, refusal=None):
        self.marks = []
        self._refusal = refusal

    def __call__(self, track, at_ns, *, speaking):
        if self._refusal is not None:
            raise self._refusal
        self.marks.append((track, at_ns, speaking))
        return 4_711


def run(tmp_path, mark, *words):
    path = tmp_path / "control.sock"
    with (
        ControlSocket(path) as listening,
        Control(listening, {"mark": mark_command(mark)}, FakeClock()),
    ):
        return cli.main(["mark", *words, "--socket", str(path)])


def test_a_mark_reaches_the_service_and_its_frame_is_told(tmp_path, capsys):
    mark = Marked()
    assert run(tmp_path, mark, "user", "start") == 0
    assert run(tmp_path, mark, "bot", "stop", "--at-ns", "81234000000000", "--json") == 0
    assert mark.marks == [("user", 0, True), ("bot", 81_234_000_000_000, False)]
    people, program = capsys.readouterr().out.split("\n", 1)
    assert "4711" in people
    assert json.loads(program) == {"frame": 4711}


def test_a_refused_mark_is_told_with_what_to_do(tmp_path, capsys):
    refusal = RefusedError("no_turns", "turns are not recorded", "set enable_turn_audio")
    assert run(tmp_path, Marked(refusal), "user", "start") == 1
    assert "turns are not recorded; set enable_turn_audio" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["both", "start"], ["user", "begin"], ["user", "start", "--at-ns", "-1"], ["user"]]
)
def test_a_mark_that_means_nothing_is_refused_as_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["mark", *words])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "args",
    [
        {"track": "mix", "state": "start"},
        {"track": "user", "state": "begin"},
        {"track": "user", "state": ["start"]},
        {"track": "user"},
        {"track": "user", "state": "start", "at_ns": -1},
        {"track": "user", "state": "start", "at_ns": True},
        {"track": "user", "state": "start", "at_ns": 1.5},
        {"track": "user", "state": "start", "at_ns": 1 << 63},
        {"track": "user", "state": "start", "at": 0},
    ],
)
def test_malformed_marks_are_answered_and_change_nothing(args):
    mark = Marked()
    line = json.dumps({"id": 1, "command": "mark", "args": args}).encode()
    told = json.loads(answer(line, {"mark": mark_command(mark)}).line)
    assert told["error"]["code"] == "bad_args"
    assert mark.marks == []


def test_everything_wrong_with_a_request_is_said_at_once_with_what_to_use():
    args = {"track": "mix", "at": 0, "at_ns": 1.5}
    line = json.dumps({"id": 1, "command": "mark", "args": args}).encode()
    error = json.loads(answer(line, {"mark": mark_command(Marked())}).line)["error"]
    assert error == {
        "code": "bad_args",
        "message": "no field 'at'; track is 'mix'; state is missing; at_ns is 1.5",
        "hint": "there are: track, state, at_ns; use user or bot; use start or stop; "
        "use a whole number from 0 to 9223372036854775807 ns on CLOCK_MONOTONIC, 0 for now",
    }
