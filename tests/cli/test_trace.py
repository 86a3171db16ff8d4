"""`edgerec trace`: real capture children of virtual devices, into files that replay can read."""

import json
import signal
import subprocess
import sys

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.capture.trace import open_input
from tests.rigs.waiting import PATIENCE_S

SIMULATED = "tracks: {user: {source: simulated}, bot: {source: simulated}}"


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


def test_both_tracks_are_stored_as_their_children_deliver_them(trace, tmp_path):
    status, out, err = finish(
        trace("--user", "u.trace", "--bot", "b.trace", "--seconds", "2", "--json")
    )
    assert (status, err) == (0, "")
    told = json.loads(out)
    for track, name in (("user", "u.trace"), ("bot", "b.trace")):
        header, *blocks = open_input(tmp_path / name, track)
        assert isinstance(header, StreamHeader)
        assert header.track == track
        assert all(isinstance(block, Block) for block in blocks)
        assert sum(block.frames for block in blocks) == told[track]["frames"] > 0
        assert told[track]["faults"] == []


def test_an_interrupt_ends_a_trace_in_good_order(trace, tmp_path):
    process = trace("--user", "u.trace")
    while not (tmp_path / "u.trace").exists() or (tmp_path / "u.trace").stat().st_size < 50_000:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, out, _ = finish(process)
    assert status == 0
    assert out.startswith("u.trace: ")
    assert len(list(open_input(tmp_path / "u.trace", "user"))) > 1


def test_a_device_that_delivers_nothing_is_a_failure_that_says_why(trace):
    absent = "tracks: {user: {device: no such microphone}}"
    status, _, err = finish(trace("--user", "u.trace", "--seconds", "1.5", config=absent))
    assert status == 1
    assert "user: no input device named 'no such microphone'" in err
    assert "user delivered nothing" in err


@pytest.mark.parametrize(
    ("arguments", "config", "says"),
    [
        ([], SIMULATED, "give --user FILE"),
        (["--bot", "b"], "tracks: {bot: {source: none}}", "tracks.bot.source is none"),
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
