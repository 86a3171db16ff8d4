"""`edgerec trace`: real capture children of virtual devices, into files that replay can read."""

import json
import signal
import subprocess
import sys

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.cli import main
from edgerec.cli import trace as trace_command
from edgerec.wire.trace import open_input
from tests.rigs import deaths
from tests.rigs.waiting import PATIENCE_S, wait_for

SIMULATED = "tracks: {user: {source: simulated}, bot: {source: simulated}}\n"


@pytest.fixture
def trace(tmp_path):
    """Start `edgerec trace`; the caller waits for its end."""
    started = []

    def start(*arguments, config=SIMULATED):
        (tmp_path / "kiosk.yaml").write_text(config)
        command = [sys.executable, "-m", "edgerec", "trace", "--config", tmp_path / "kiosk.yaml"]
        started.append(
            subprocess.Popen(
                [*command, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_both_tracks_are_stored_as_their_children_deliver_them(
    tmp_path, monkeypatch, handlers_restored, capsys
):
    monkeypatch.setattr(trace_command, "OPENING_NS", round(PATIENCE_S * 1e9))
    (tmp_path / "kiosk.yaml").write_text(SIMULATED)
    command = ["trace", "--config", str(tmp_path / "kiosk.yaml"), "--seconds", "2", "--json"]
    for track in ("user", "bot"):
        command += [f"--{track}", str(tmp_path / f"{track[0]}.trace")]
    status = main(command)
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    told = json.loads(out)
    for track, name in (("user", "u.trace"), ("bot", "b.trace")):
        messages = list(open_input(tmp_path / name, track))
        headers = [one for one in messages if isinstance(one, StreamHeader)]
        blocks = [one for one in messages if isinstance(one, Block)]
        assert messages[0] is headers[0]
        assert {header.track for header in headers} == {track}
        assert len(messages) == len(headers) + len(blocks)
        assert sum(block.frames for block in blocks) == told[track]["frames"] > 0
        # A machine that is busy for 1.2 s has a child taken for dead, and started again.
        assert len(headers) - 1 <= len(told[track]["faults"])


def test_an_interrupt_ends_a_trace_in_good_order(trace, tmp_path):
    process = trace("--user", "u.trace")
    deaths.watch_process("edgerec trace", process)
    file = tmp_path / "u.trace"
    wait_for(lambda: file.exists() and file.stat().st_size >= 50_000)
    deaths.forget(process)
    process.send_signal(signal.SIGINT)
    status, out, _ = finish(process)
    assert status == 0
    assert out.startswith("u.trace: ")
    assert len(list(open_input(tmp_path / "u.trace", "user"))) > 1


ABSENT = "tracks: {user: {device: no such microphone}, bot: {source: none}}\n"


def test_a_device_that_delivers_nothing_is_a_failure_that_says_why(trace):
    process = trace("--user", "u.trace", config=ABSENT)
    assert any(
        "user: no input device named 'no such microphone'" in line for line in process.stderr
    )
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert status == 1
    assert "user delivered nothing" in err


def test_the_time_of_a_trace_is_over_though_its_device_never_opened(
    tmp_path, monkeypatch, handlers_restored, capsys
):
    monkeypatch.setattr(trace_command, "OPENING_NS", 0)
    (tmp_path / "kiosk.yaml").write_text(ABSENT)
    where = ["--config", str(tmp_path / "kiosk.yaml"), "--user", str(tmp_path / "u.trace")]
    assert main(["trace", *where, "--seconds", "0.01"]) == 1
    assert "user delivered nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "config", "says"),
    [
        ([], SIMULATED, "give --user FILE"),
        (["--bot", "b"], SIMULATED.replace("simulated}}", "none}}"), "tracks.bot.source is none"),
    ],
)
def test_what_cannot_be_traced_is_a_usage_error(trace, arguments, config, says):
    status, _, err = finish(trace(*arguments, config=config))
    assert status == 2
    assert says in err


def test_a_trace_that_is_there_already_is_kept(trace, tmp_path):
    (tmp_path / "u.trace").write_text("evidence")
    status, _, err = finish(trace("--user", "u.trace", "--seconds", "1"))
    assert status == 1
    assert "edgerec trace: writing u.trace: File exists" in err
    assert (tmp_path / "u.trace").read_text() == "evidence"
