"""How a program ends that records: whatever ends it, everything is published.

Programs are real processes, and both tracks are fed, so that no device is needed.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

from edgerec.store.ownership import take_lock
from tests.rigs.waiting import PATIENCE_S, wait_for

PYTHON = (sys.executable, "-W", "ignore::DeprecationWarning", "-c")  # of a fork with threads

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from edgerec import Recorder, load_config

recorder = Recorder(load_config(Path(sys.argv[1])))

@recorder.event_handler("on_recording_stopped")
def stopped(recorder, event):
    print("stopped", event.end_reason, flush=True)

def record():
    recorder.start_recording()
    recorder.feed("user", bytes(16_000), 16_000)
    while recorder.status()["activity"] != "recording":
        time.sleep(0.01)
    print("recording", flush=True)

"""

CONFIG = """
kiosk_id: k1
storage: {{root: {root}}}
recording: {{sample_rate: 16000}}
tracks: {{user: {{source: feed}}, bot: {{source: feed}}}}
"""

ENDS = {
    "falls off its end": ("record()", 0),
    "raises": ("record(); raise ValueError('mine')", 1),
    "is told to exit": ("record(); sys.exit(7)", 7),
    "raises with its devices open": ("with recorder:\n    record(); raise ValueError('mine')", 1),
}


def start(folder, code):
    file, root = folder / "edgerec.yaml", folder / "root"
    file.write_text(CONFIG.format(root=root))
    return subprocess.Popen(
        [*PYTHON, PROGRAM + code, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def published(folder):
    """Return the end reason of the session, of which nothing is left to be published."""
    (record,) = (folder / "root" / "ready").rglob("*session*.json")
    assert not list((folder / "root" / ".work").iterdir())
    return json.loads(record.read_text())["end_reason"]


@pytest.mark.parametrize("way", ENDS)
def test_a_program_that_ends_has_everything_published_and_its_handlers_called(tmp_path, way):
    code, status = ENDS[way]
    program = start(tmp_path, code)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out.splitlines()) == (status, ["recording", "stopped stop"]), err
    assert ("ValueError: mine" in err) == ("raise" in code)
    assert published(tmp_path) == "stop"


def test_one_interrupt_from_the_keyboard_is_enough(tmp_path):
    program = start(tmp_path, "record()\nwhile True: time.sleep(60)")
    assert program.stdout.readline() == "recording\n"
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (-signal.SIGINT, "stopped stop\n"), err
    assert published(tmp_path) == "stop"


def test_a_forked_process_holds_no_storage_root_and_ends_no_recording(tmp_path):
    code = """
record()
if os.fork() == 0:
    sys.stdin.readline()
    sys.exit()
os.kill(os.getpid(), signal.SIGKILL)
"""
    file, root = tmp_path / "edgerec.yaml", tmp_path / "root"
    file.write_text(CONFIG.format(root=root))
    with subprocess.Popen(
        [*PYTHON, PROGRAM + code, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.readline() == "recording\n"
        assert program.wait(PATIENCE_S) == -signal.SIGKILL
        os.close(take_lock(root / ".state" / "lock"))  # while the forked process runs
        program.stdin.close()
        assert program.stderr.read() == ""  # it has ended, and nothing went wrong


def test_a_forked_process_leaves_the_block_at_once_and_the_recording_goes_on(tmp_path):
    code = """
with recorder:
    record()
    forked = os.fork()
    if forked == 0:
        assert not recorder.is_open
        recorder.feed("bot", bytes(3200), 16_000)
    else:
        assert os.waitpid(forked, 0)[1] == 0
        assert recorder.status()["recording"]
if forked == 0:
    print("left", flush=True)
"""
    program = start(tmp_path, code)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "recording\nleft\nstopped stop\n"), err
    assert published(tmp_path) == "stop"


def test_a_signal_handler_that_feeds_what_its_thread_feeds_is_refused(tmp_path):
    code = """
from edgerec import FeedError
record()
def on_alarm(*_):
    try:
        recorder.feed("bot", bytes(320), 16_000)
    except FeedError as error:
        print(error.code, flush=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        recorder.clear("bot")
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
recorder.feed("bot", bytes(2 * 3600 * 16_000), 16_000)
"""
    program = start(tmp_path, code)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "recording\nbusy\nstopped stop\n"), err


def test_a_handler_of_the_end_begins_again_and_the_stop_returns(program):
    it = program()
    began_again = []

    @it.recorder.event_handler("on_recording_stopped")
    def again(recorder, event):
        if not began_again:
            began_again.append(recorder.start_recording())

    it.recorder.start_recording()
    it.clock.let_pass(2)
    it.stop()
    assert began_again == [True]
    it.clock.let_pass(2)
    wait_for(lambda: it.recorder.status()["activity"] == "recording")
    it.stop()
    assert it.recorder.counts.handlers.overdue == 0
