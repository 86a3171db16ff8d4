"""One program that a hook runs: what it prints, how it ends, and what it can do wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.service import hook_keeper
from edgerec.service.hook_process import MAX_LINE_BYTES, MAX_LINES, environment
from tests.rigs.hook_rig import SLEEPY, Service, published, python
from tests.rigs.waiting import PATIENCE_S, wait_for

CHATTY = "import os\nwhile True: os.write(1, b'y' * 65536)"


def test_a_hook_that_hangs_is_killed_with_what_it_started_and_tried_again(tmp_path, caplog):
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(3600)'])\n"
        "open(sys.argv[1] + '.new', 'w').write(str(child.pid))\n"
        "import os; os.rename(sys.argv[1] + '.new', sys.argv[1]); time.sleep(3600)"
    )
    service = Service(on_chunk=python(code, str(child)))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: child.exists())
    service.pass_time(299)
    assert service.hooks.counts.running == 1
    service.pass_time(2)
    service.until(lambda counts: (counts.failed, counts.waiting) == (1, 1))
    assert "not done after 300 s" in caplog.text
    wait_for(lambda: not runs(int(child.read_text())))


def runs(pid):
    """Whether a process is there, and no corpse that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


DAEMON = """
import os, sys, time
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
            for fd in (0, 1, 2):
                os.close(fd)
            with open(sys.argv[1] + "." + str(os.getpid()), "w"):
                pass
            time.sleep(3600)
        os._exit(0)
    os.wait()
folder = os.path.dirname(sys.argv[1])
while len([n for n in os.listdir(folder) if "daemon." in n]) < 2 * int(sys.argv[2]):
    time.sleep(0.01)
"""
HANGS = DAEMON + "time.sleep(3600)"


def daemons(folder):
    """The processes that a hook has left behind, each of a session of its own."""
    return [int(path.suffix[1:]) for path in folder.glob("daemon.*")]


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("end", ["by itself", "in time", "with the service"])
def test_daemons_that_a_hook_has_left_behind_end_with_it(tmp_path, count, end):
    folder = tmp_path / "daemons"
    folder.mkdir()
    code = DAEMON if end == "by itself" else HANGS
    service = Service(on_chunk=python(code, str(folder / "daemon"), str(count)))
    service.publish(published(tmp_path / "a.wav"))
    if end == "by itself":
        service.until(lambda counts: counts.succeeded == 1)
    else:
        service.until(lambda counts: len(daemons(folder)) == 2 * count)
        if end == "in time":
            service.pass_time(301)
        else:
            service.hooks._stop_ns = service.clock.raw_ns
        service.until(lambda counts: counts.failed == 1)
    left = daemons(folder)
    assert len(left) == 2 * count
    assert not [pid for pid in left if runs(pid)]  # at once: it was waited for


def test_what_a_hook_has_started_ends_when_the_service_is_killed(tmp_path):
    folder = tmp_path / "daemons"
    folder.mkdir()
    command = python(HANGS, str(folder / "daemon"), "1")
    code = (
        f"from edgerec.service.hook_process import HookProcess; HookProcess({command!r}); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as killed:
        wait_for(lambda: len(daemons(folder)) == 2)
        killed.kill()
    wait_for(lambda: not [pid for pid in daemons(folder) if runs(pid)])


def test_a_hook_whose_keeper_is_killed_dies_with_it_and_fails(tmp_path, caplog):
    service = Service(on_chunk=python(f"print('here', flush=True); {SLEEPY}"))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.running == 1)
    (process,) = service.hooks._running
    wait_for(lambda: service.hooks.step(0.01) and process.said() == ["here"])
    keeper = process._process.pid
    (program,) = map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split())
    os.kill(keeper, signal.SIGKILL)
    service.until(lambda counts: counts.failed == 1)
    assert "ended by signal 9" in caplog.text
    wait_for(lambda: not runs(program))


def test_a_keeper_that_hangs_is_left_behind(tmp_path):
    service = Service(on_chunk=python(SLEEPY))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.running == 1)
    (process,) = service.hooks._running
    os.kill(process._process.pid, signal.SIGSTOP)
    service.pass_time(301)
    assert service.hooks.counts.running == 1
    service.pass_time(6)
    assert (service.hooks.counts.failed, service.hooks.counts.running) == (1, 0)
    process._process.wait()


def test_programs_of_another_user_that_can_t_be_ended_are_told(tmp_path, monkeypatch):
    """Nothing unprivileged is ours that we may not kill, so the refusal is what is faked here."""
    monkeypatch.setattr(hook_keeper, "END_S", 0.05)
    monkeypatch.setattr(os, "kill", refused)
    child = os.fork()
    if child == 0:
        signal.pause()
    assert not hook_keeper._end_all()
    monkeypatch.undo()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    code = f"import sys; sys.exit({hook_keeper.UNENDED})"
    service = Service(on_chunk=python(code))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert "another user's" in service.hooks.counts.trouble


def refused(*arguments):
    raise PermissionError(1, "Operation not permitted")


def test_where_memory_is_short_a_hook_goes_first_and_its_keeper_before_the_recorder(tmp_path):
    told = tmp_path / "told"
    code = (
        "import os, sys\n"
        "pids = os.getpid(), os.getppid()\n"
        "scores = [open('/proc/%d/oom_score_adj' % pid).read() for pid in pids]\n"
        "open(sys.argv[1], 'w').write(''.join(scores) + str(os.nice(0)))"
    )
    service = Service(on_chunk=python(code, str(told)))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.succeeded == 1)
    assert told.read_text().split() == ["1000", "750", str(min(os.nice(0) + 10, 19))]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -KILL $$", "exit status 137"),
        ("kill -PIPE $$", "exit status 141"),
        ("kill -KILL 0", "exit status 137"),
        ("exit 255", "exit status 255"),
    ],
)
def test_how_a_program_ended_is_told_as_shells_tell_it(tmp_path, script, why):
    service = Service(on_chunk=("/bin/sh", "-c", script))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert why in service.hooks.counts.trouble


def test_signals_that_whoever_starts_hooks_has_blocked_are_not_blocked_in_them(tmp_path):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGPIPE, signal.SIGCHLD))
    try:
        service = Service(on_chunk=("/bin/sh", "-c", "kill -PIPE $$"))
        service.publish(published(tmp_path / "a.wav"))
        service.until(lambda counts: counts.failed == 1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert "exit status 141" in service.hooks.counts.trouble


def test_a_sandbox_that_forbids_priorities_forbids_no_hook():
    code = (
        "import os, sys\n"
        "def nice(by): raise PermissionError(1, 'Operation not permitted')\n"
        "os.nice = nice\n"
        "from edgerec.service import hook_keeper\n"
        "sys.exit(hook_keeper.main(['/bin/sh', '-c', 'exit 7']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as keeper:
        assert keeper.wait() == 7


def test_a_program_gets_no_descriptor_of_ours_and_an_empty_input(tmp_path):
    told = tmp_path / "told"
    code = (
        "import os, sys; left = sorted(os.listdir('/proc/self/fd'), key=int)[:-1]\n"
        "open(sys.argv[1], 'w').write(repr((left, sys.stdin.read())))"
    )
    service = Service(on_chunk=python(code, str(told)))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.succeeded == 1)
    assert told.read_text() == "(['0', '1', '2'], '')"


def test_a_program_that_is_not_there_is_told_and_tried_again(tmp_path, caplog):
    service = Service(on_chunk=("/nonexistent/notify",))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert service.hooks.counts.waiting == 1
    assert "No such file or directory: '/nonexistent/notify'" in caplog.text


def test_a_hook_that_prints_without_end_is_ended_and_little_of_it_reaches_the_log(tmp_path, caplog):
    service = Service(on_chunk=python(CHATTY))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert "more output than allowed" in caplog.text
    assert len(caplog.text) < 2 * MAX_LINES * MAX_LINE_BYTES


def test_a_hook_that_can_t_be_watched_is_ended_and_fails(tmp_path, monkeypatch, caplog):
    begun = []

    def pidfd_open(pid):
        begun.append(pid)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    service = Service(on_chunk=python(SLEEPY))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert "Too many open files" in caplog.text
    with pytest.raises(ChildProcessError):  # it is gone, and has been waited for
        os.waitpid(begun[0], os.WNOHANG)


def test_the_last_lines_of_the_output_reach_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    service = Service(on_chunk=python("for n in range(50_000): print('line', n)"))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.succeeded == 1)
    said = [message for message in caplog.messages if "hook said" in message]
    assert len(said) <= MAX_LINES
    assert said[-1] == "hook said hook=on_chunk line='line 49999'"


def test_a_hook_that_closes_its_output_and_runs_on_is_waited_for_without_spinning(tmp_path):
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    code = "import os, sys; os.close(1); os.close(2); open(sys.argv[1]).read()"
    service = Service(on_chunk=python(code, str(go_on)))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.running == 1)
    with go_on.open("w"):  # it waits until the program is there, which has closed its output then
        service.hooks.step(PATIENCE_S)
        assert service.hooks.counts.running == 1
        assert service.hooks._ready.select(0) == []
    service.until(lambda counts: counts.succeeded == 1)


def test_a_hook_can_t_speak_to_systemd_for_the_service():
    inherited = {"PATH": "/bin", "NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1"}
    assert environment(inherited) == {"PATH": "/bin"}
