"""A capture child never outlives its recorder: with real processes, no fake has PDEATHSIG."""

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.rigs.waiting import PATIENCE_S

CHILD = """
import signal
from edgerec.wire.pipe import die_with_parent
die_with_parent()
print("ready", flush=True)
signal.pause()
"""

PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


def test_the_child_of_a_killed_process_dies_with_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        # Child and parent share the pipe: it ends when the last of the two is gone.
        readable, _, _ = select.select([parent.stdout], [], [], PATIENCE_S)
        assert readable, "the child outlived its parent"
        assert os.read(parent.stdout.fileno(), 1) == b""


@pytest.mark.parametrize(("before", "after"), [(0, 500), (499, 500), (700, 700)])
def test_a_child_is_ended_before_the_recorder_where_memory_is_short(before, after):
    code = (
        "import sys; from edgerec.wire.pipe import be_killed_first\n"
        "adj = '/proc/self/oom_score_adj'\n"
        "open(adj, 'w').write(sys.argv[1]); be_killed_first(); print(open(adj).read())"
    )
    ran = [sys.executable, "-c", code, str(before)]
    ended = subprocess.run(ran, check=True, capture_output=True, text=True)
    assert int(ended.stdout) == after


def test_a_child_orphaned_before_it_could_ask_kills_itself():
    orphaned = (
        "import os\n"
        "parents = iter([4711, 1])\n"
        "os.getppid = lambda: next(parents)\n"
        "from edgerec.wire.pipe import die_with_parent\n"
        "die_with_parent()\n"
    )
    ended = subprocess.run([sys.executable, "-c", orphaned], check=False)
    assert ended.returncode == -signal.SIGKILL


def test_a_child_the_kernel_will_not_watch_says_so():
    refused = (
        "from edgerec.wire import pipe as parent\n"
        "parent._PR_SET_PDEATHSIG = -1\n"
        "try:\n"
        "    parent.die_with_parent()\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", refused], check=True, capture_output=True, text=True
    )
    assert "asking to be killed with the recorder" in ended.stdout
