"""`edgerec meter` against a control socket that answers what a test says."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from edgerec.cli.meter import WIDTH, bar, words
from edgerec.health.status import TrackStatus
from tests.rigs.made_statuses import WELL, serving
from tests.rigs.waiting import PATIENCE_S


def command(path, *arguments):
    return [sys.executable, "-m", "edgerec", "meter", "--socket", str(path), *arguments]


def meter(path, *arguments):
    done = subprocess.run(
        command(path, *arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_where_there_is_no_terminal_it_writes_lines(tmp_path):
    path = tmp_path / "control.sock"
    with serving(path, WELL):
        status, said, _ = meter(path, "--seconds", "0")
    assert (status, said) == (0, "user:   -3.0 dBFS running  bot: off\n")


def test_programs_get_a_line_of_json_each_time(tmp_path):
    path = tmp_path / "control.sock"
    with serving(path, WELL):
        status, said, _ = meter(path, "--seconds", "0", "--json")
    assert status == 0
    (line,) = said.splitlines()
    assert json.loads(line)["user"]["peak_dbfs"] == -3.0


def test_a_terminal_is_drawn_on_in_place_until_ctrl_c(tmp_path):
    path = tmp_path / "control.sock"
    ours, theirs = pty.openpty()
    with serving(path, WELL):
        process = subprocess.Popen(command(path), stdout=theirs)
        os.close(theirs)
        drawn = b""
        while b"\x1b[2A" not in drawn:
            drawn += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    os.close(ours)
    assert drawn.startswith(b"user [#")


def test_a_service_that_is_not_there_is_a_failure(tmp_path):
    status, _, complaint = meter(tmp_path / "absent")
    assert status == 1
    assert "edgerec meter: no service at" in complaint


@pytest.mark.parametrize(
    ("rms", "peak", "drawn"),
    [
        (None, None, "-" * WIDTH),
        (-90.0, -60.0, "-" * WIDTH),
        (-30.0, -15.0, "#" * 20 + "-" * 9 + "|" + "-" * 10),
        (0.0, 0.0, "#" * 39 + "|"),
    ],
)
def test_the_bar_goes_from_a_quiet_room_to_full_scale(rms, peak, drawn):
    assert bar(TrackStatus(rms_dbfs=rms, peak_dbfs=peak)) == f"[{drawn}]"


def test_clipping_and_turns_are_said_beside_it():
    track = TrackStatus(state="running", peak_dbfs=0.0, clipped=3, turn=7)
    assert words(track) == "   0.0 dBFS running CLIPPED speaks (turn 7)"
