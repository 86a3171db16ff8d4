"""One program that a hook runs: what it prints, how it ends, and what it can do wrong."""

import os
from pathlib import Path

import pytest

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
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: child.exists())
    service.pass_time(299)
    assert service.hooks.counts.running == 1
    service.pass_time(2)
    assert (service.hooks.counts.failed, service.hooks.counts.waiting) == (1, 1)
    assert "not done after 300 s" in caplog.text
    wait_for(lambda: not runs(int(child.read_text())))


def runs(pid):
    """Whether a process is there, and no corpse that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_a_program_that_is_not_there_is_told_and_tried_again(tmp_path, caplog):
    service = Service(on_chunk=("/nonexistent/notify",))
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert service.hooks.counts.waiting == 1
    assert "No such file or directory: '/nonexistent/notify'" in caplog.text


def test_a_hook_that_prints_without_end_is_ended_and_little_of_it_reaches_the_log(tmp_path, caplog):
    service = Service(on_chunk=python(CHATTY))
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert "it prints without end" in caplog.text
    assert len(caplog.text) < 2 * MAX_LINES * MAX_LINE_BYTES


def test_a_hook_that_can_t_be_watched_is_ended_and_fails(tmp_path, monkeypatch, caplog):
    begun = []

    def pidfd_open(pid):
        begun.append(pid)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    service = Service(on_chunk=python(SLEEPY))
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    assert "Too many open files" in caplog.text
    with pytest.raises(ChildProcessError):  # it is gone, and has been waited for
        os.waitpid(begun[0], os.WNOHANG)


def test_the_last_lines_of_the_output_reach_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    service = Service(on_chunk=python("for n in range(50_000): print('line', n)"))
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.succeeded == 1)
    said = [message for message in caplog.messages if "hook said" in message]
    assert len(said) <= MAX_LINES
    assert said[-1] == "hook said hook=on_chunk line='line 49999'"


def test_a_hook_that_closes_its_output_and_runs_on_is_waited_for_without_spinning(tmp_path):
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    code = "import os, sys; os.close(1); os.close(2); open(sys.argv[1]).read()"
    service = Service(on_chunk=python(code, str(go_on)))
    service.hooks.published(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.running == 1)
    with go_on.open("w"):  # it waits until the program is there, which has closed its output then
        service.hooks.step(PATIENCE_S)
        assert service.hooks.counts.running == 1
        assert service.hooks._ready.select(0) == []
    service.until(lambda counts: counts.succeeded == 1)


def test_a_hook_can_t_speak_to_systemd_for_the_service():
    inherited = {"PATH": "/bin", "NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1"}
    assert environment(inherited) == {"PATH": "/bin"}
