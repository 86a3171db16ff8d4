"""One child process: what it is started with, what it says, and its end."""

import errno
import itertools
import os
import select
import signal

import pytest

from edgerec.audio import GapReason, StreamEnded
from edgerec.capture import process
from edgerec.capture.child import ChildLimits, ChildSource
from tests.rigs.fake_child import LIMITS, Rig, await_exit, look_twice, until_told
from tests.rigs.fakes import S
from tests.rigs.waiting import PATIENCE_S, wait_for


@pytest.mark.parametrize(
    ("last_line", "detail"),
    [
        ("", "the capture child exited with status 3"),
        ("Traceback\nboom\n", "the capture child exited with status 3: boom"),
        ("{}\n", "the capture child exited with status 3: {}"),
        ("[" * 3000 + "\n", "the capture child exited with status 3: " + "[" * 3000),
        ('"error"\n', 'the capture child exited with status 3: "error"'),
    ],
)
def test_a_child_that_ends_without_an_error_line_is_told_by_its_exit_status(
    child, last_line, detail
):
    child.say(last_line)
    assert child.fail(0) == [StreamEnded(GapReason.ABSENT, detail)]


def test_a_child_killed_from_outside_is_told_by_the_signal(child):
    child.start(0)
    os.killpg(child.source._child._process.pid, signal.SIGTERM)
    assert until_told(child.source) == [
        StreamEnded(GapReason.ABSENT, "the capture child was killed by signal 15")
    ]


def test_a_child_that_closes_its_pipe_and_lives_on_is_killed(tmp_path):
    source = ChildSource("user", ["/bin/sh", "-c", "exec >&-; exec sleep 1000"], {}, now_ns=0)
    assert [ended.detail for ended in until_told(source)] == [
        "the capture child was killed by signal 9"
    ]


def test_a_child_that_ended_leaves_no_pipe_open(child, recwarn):
    child.fail(0)
    child.source.close()
    assert [str(warning.message) for warning in recwarn] == []


def test_a_kill_reaches_what_the_child_has_started(child):
    child.start(0)
    child.source.deliver(LIMITS.start_ns + 1)
    os.close(child.pipe)
    child.pipe = None
    await_exit(child.source)
    # `cat` had the FIFO open; nobody reads there any more once it is dead.
    wait_for(lambda: not is_read(child.fifo), why=lambda: "what the child started is still alive")


def is_read(fifo):
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        assert error.errno == errno.ENXIO
        return False
    return True


def test_a_child_that_a_driver_holds_back_blocks_nothing_and_gets_no_twin(tmp_path, monkeypatch):
    """Nothing unprivileged survives SIGKILL, so the kill is what is faked here."""
    child = Rig(tmp_path, limits=ChildLimits(exit_ns=1_000_000))
    child.start(0)
    pid = child.source._child._process.pid
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        assert len(look_twice(child.source, LIMITS.start_ns + 1)) == 1
        for now_s in range(20, 30):
            assert child.source.deliver(now_s * S) == []
        assert child.source.state.restarts == 0
        child.source.close()
    os.killpg(pid, signal.SIGKILL)
    os.close(child.pipe)
    os.waitid(os.P_PID, pid, os.WEXITED)


def test_a_child_that_closed_its_pipe_and_won_t_exit_is_told_after_a_while(monkeypatch):
    source = ChildSource("user", ["/bin/sh", "-c", "exec >&-; exec sleep 1000"], {}, now_ns=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        source.deliver(0)
        pid = source._child._process.pid
        while source.fileno() is not None:
            select.select([source.fileno()], [], [], PATIENCE_S)
            assert source.deliver(0) == []
        assert source.deliver(LIMITS.exit_ns) == []
        (ended,) = source.deliver(LIMITS.exit_ns + 1)
        assert "won't exit" in ended.detail
        assert source.deliver(LIMITS.exit_ns + 2) == []
    os.killpg(pid, signal.SIGKILL)
    await_exit(source)
    source.close()


def test_the_child_gets_our_environment_and_its_own_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "a")
    script = """echo "{\\"error\\": \\"$OURS $THEIRS\\"}" >&2"""
    source = ChildSource("user", ["/bin/sh", "-c", script], {"THEIRS": "b"}, now_ns=0)
    assert [ended.detail for ended in until_told(source)] == ["a b"]


def test_ctrl_c_in_our_terminal_does_not_reach_the_child():
    source = ChildSource("user", ["/bin/sleep", "1000"], {}, now_ns=0)
    source.deliver(0)
    assert os.getpgid(source._child._process.pid) != os.getpgid(0)
    source.close()


def test_a_child_that_complains_without_end_is_neither_blocked_nor_remembered(tmp_path):
    complaints = 40 * 64 * 1024 // 100  # forty pipes full
    script = f"""yes {"x" * 99} | head -n {complaints} >&2; echo '{{"error": "last"}}' >&2"""
    source = ChildSource("user", ["/bin/sh", "-c", script], {}, now_ns=0)
    source.deliver(0)
    deliveries = []
    while not deliveries:
        child = source._child
        if source.fileno() is not None:
            select.select([source.fileno(), child._stderr], [], [], PATIENCE_S)
        else:
            await_exit(source)
        assert len(child._stderr_tail) <= process.MAX_STDERR_BYTES
        deliveries = source.deliver(0)
    assert deliveries[0].detail == "last"


def test_a_child_that_floods_us_cannot_hold_us():
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        pieces = itertools.islice(process._read_available(endless), 10_000)
        assert sum(map(len, pieces)) == 2 * 1024 * 1024


def test_close_leaves_no_process_behind(child):
    child.start(0)
    pid = child.source._child._process.pid
    child.source.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
