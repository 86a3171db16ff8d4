"""Hooks: which programs are run when, how often one is tried, and what the end waits for."""

import os
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.clock import SystemClock
from edgerec.config import HooksConfig
from edgerec.engine.engine import Engine
from edgerec.health.status import TapCounts
from edgerec.service import hooks
from edgerec.service.hooks import HookLimits
from tests.rigs.fakes import S, config
from tests.rigs.hook_rig import SLEEPY, Service, published, python
from tests.rigs.recorder_rig import surrounded
from tests.rigs.waiting import PATIENCE_S, wait_for


def appending(path, *words):
    """A program that adds a line of these words to a file."""
    code = "import sys; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + '\\n')"
    return python(code, str(path), *words)


@contextmanager
def running(service):
    """The same with their thread."""
    service.hooks.start()
    yield service
    service.hooks.close()


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_hook_is_given_the_file_as_arguments_and_no_shell_sees_them(tmp_path):
    told = tmp_path / "told"
    command = appending(told, "{path}", "{sidecar}", "{kind}", "{{x}}", "$HOME; ls *")
    service = Service(on_chunk=command)
    file = tmp_path / "a b;c.wav"
    service.publish(published(file))
    service.until(lambda counts: counts.succeeded == 1)
    assert lines(told) == [f"{file} {file.with_suffix('.json')} chunk {{x}} $HOME; ls *"]


def test_turns_chunks_and_states_have_hooks_of_their_own_and_a_session_s_record_has_none(tmp_path):
    told = tmp_path / "told"
    service = Service(
        on_chunk=appending(told, "chunk:", "{kind}"),
        on_turn=appending(told, "turn:", "{kind}"),
        on_state=appending(told, "state:", "{state}"),
        limits=HookLimits(running=1),
    )
    service.publish(published(tmp_path / "c.wav"))
    service.publish(published(tmp_path / "u.wav", "track", "user"))
    service.publish(published(tmp_path / "t.wav", "turn", "user"))
    service.publish(published(tmp_path / "s.json", "session", "session"))
    service.change_state("paused")
    service.until(lambda counts: counts.succeeded == 4)
    assert lines(told) == ["chunk: chunk", "chunk: track", "turn: turn", "state: paused"]


def test_without_hooks_nothing_is_run():
    service = Service()
    service.publish(published(Path("/dev/null")))
    service.change_state("recording")
    assert service.hooks.counts.waiting == 0


def test_no_more_run_at_once_than_allowed(tmp_path):
    service = Service(on_chunk=python(SLEEPY))
    for number in range(5):
        service.publish(published(tmp_path / f"{number}.wav"))
    service.until(lambda counts: counts.running > 0)
    assert (service.hooks.counts.running, service.hooks.counts.waiting) == (2, 3)
    stop(service)


def stop(service):
    """End whatever still runs."""
    service.hooks._stop_ns = service.clock.raw_ns
    service.until(lambda counts: counts.running == counts.waiting == 0)


def test_a_hook_that_fails_is_tried_again_with_growing_patience_until_it_succeeds(tmp_path, caplog):
    told, good = tmp_path / "told", tmp_path / "good"
    code = (
        "import os, sys; open(sys.argv[1], 'a').write('tried\\n'); print('no line')\n"
        "sys.exit(not os.path.exists(sys.argv[2]))"
    )
    service = Service(on_chunk=python(code, str(told), str(good)))
    service.publish(published(tmp_path / "a.wav"))
    for tries, delay_s in enumerate((10, 20, 40, 80, 160, 320, 600, 600), start=1):
        service.until(lambda counts, tries=tries: counts.failed == tries)
        service.pass_time(delay_s - 1)
        assert service.hooks.counts.running == 0
        if tries == 8:
            good.touch()
        service.pass_time(1)
    service.until(lambda counts: counts.succeeded == 1)
    assert service.hooks.counts.waiting == 0
    assert len(lines(told)) == 9
    assert "exit status 1" in caplog.text
    assert "hook said hook=on_chunk line='no line'" in caplog.text


@pytest.mark.parametrize("fetch", [Path.unlink, lambda path: path.with_suffix(".ack").touch()])
def test_a_file_that_a_sync_job_has_fetched_meanwhile_is_not_tried_again(tmp_path, fetch):
    service = Service(on_chunk=python("import sys; sys.exit(1)"))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    fetch(tmp_path / "a.wav")
    service.pass_time(10)
    assert service.hooks.counts.waiting == service.hooks.counts.running == 0


def refusing(*arguments, **how):
    raise PermissionError(13, "Permission denied")


BROKEN = {
    "its folder can't be looked into": (
        lambda patch: patch.setattr(Path, "exists", refusing),
        python("import sys; sys.exit(1)"),
    ),
    "its command can't be filled in": (lambda patch: None, ("/bin/true", "{path.nothing}")),
    "a name that is not there": (lambda patch: None, ("/bin/true", "{nothing}")),
    "a zero byte": (lambda patch: None, ("/bin/true", "\0")),
    "no process left": (lambda patch: patch.setattr(subprocess, "Popen", refusing), ("/bin/true",)),
    "no descriptor left": (lambda patch: patch.setattr(os, "pidfd_open", refusing), ("/bin/true",)),
    "what nobody has thought of": (
        lambda patch: patch.setattr(hooks.HookProcess, "finish", lambda self: 1 / 0),
        ("/bin/true",),
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_fails_about_a_hook_is_its_own_failure(tmp_path, monkeypatch, kind):
    breaks, command = BROKEN[kind]
    told = tmp_path / "told"
    service = Service(on_chunk=command, on_state=appending(told, "{state}"))
    service.publish(published(tmp_path / "a.wav"))
    with monkeypatch.context() as patch:
        breaks(patch)
        service.until(lambda counts: counts.failed == 1)
        service.pass_time(10)
        service.until(lambda counts: counts.failed == 2)
    assert service.hooks.counts.trouble.startswith("on_chunk: /bin/") or "python" in command[0]
    service.change_state("paused")
    service.until(lambda counts: counts.succeeded == 1)
    assert lines(told) == ["paused"]


def test_trouble_with_a_hook_is_over_when_it_succeeds(tmp_path):
    good = tmp_path / "good"
    command = python("import os, sys; sys.exit(not os.path.exists(sys.argv[1]))", str(good))
    service = Service(on_chunk=command, on_state=("/nonexistent/program",))
    service.publish(published(tmp_path / "a.wav"))
    service.change_state("paused")
    service.until(lambda counts: counts.failed == 2)
    assert "exit status 1" in service.hooks.counts.trouble
    assert "exit status 127" in service.hooks.counts.trouble
    good.touch()
    service.pass_time(10)
    service.until(lambda counts: counts.succeeded == 1)
    assert service.hooks.counts.trouble == "on_state: /nonexistent/program: exit status 127"


def test_a_state_is_not_told_again(tmp_path):
    service = Service(on_state=python("import sys; sys.exit(1)"))
    service.change_state("paused")
    service.until(lambda counts: counts.failed == 1)
    assert service.hooks.counts.waiting == 0


def test_what_there_is_no_room_for_is_dropped_and_counted(tmp_path, caplog):
    service = Service(on_chunk=python(SLEEPY), limits=HookLimits(waiting=3, running=0))
    for number in range(10):
        service.publish(published(tmp_path / f"{number}.wav"))
    service.hooks.step(0.0)
    assert (service.hooks.counts.waiting, service.hooks.counts.dropped) == (3, 7)
    assert "hook dropped, too many are waiting" in caplog.text


def test_what_is_reported_before_the_end_is_still_run(tmp_path):
    told = tmp_path / "told"
    with running(Service(on_chunk=appending(told, "{path}"), limits=HookLimits(running=1))) as it:
        for number in range(3):
            it.publish(published(tmp_path / f"{number}.wav"))
    assert len(lines(told)) == 3


def test_the_end_is_held_up_by_no_hook(tmp_path, caplog):
    service = Service(on_chunk=python(SLEEPY))
    service.hooks.start()
    for number in range(5):
        service.publish(published(tmp_path / f"{number}.wav"))
    wait_for(lambda: service.hooks.counts.running == 2)
    ended = threading.Event()

    def leave():
        service.hooks.close()
        ended.set()

    threading.Thread(target=leave, daemon=True).start()
    wait_for(lambda: service.hooks._stop_ns is not None)
    service.clock.raw_ns += 6 * S
    service.hooks._waker.set()
    assert ended.wait(PATIENCE_S)
    assert (service.hooks.counts.running, service.hooks.counts.waiting) == (0, 0)
    assert service.hooks.counts.dropped == 3
    assert "hooks dropped at the end of the service hooks=3" in caplog.text


def test_the_status_tells_what_has_become_of_hooks_and_who_listens(tmp_path):
    """Of the whole service: what is counted can be read."""
    failing = HooksConfig(on_state=python("import sys; sys.exit(3)"))
    settings = replace(config(tmp_path / "root", user="feed", bot="feed"), hooks=failing)
    clock = SystemClock()
    with surrounded(settings, clock) as around, Engine(settings, around=around) as recorder:
        around.live.open("user", lambda: None)
        wait_for(lambda: recorder.status().hooks.failed > 0)
        assert "hooks" in [reason.code for reason in recorder.status().reasons]
        assert recorder.status().taps == TapCounts(open=1, lost_blocks=0)


def test_the_end_waits_for_no_second_try(tmp_path):
    service = Service(on_chunk=python("import sys; sys.exit(1)"))
    service.publish(published(tmp_path / "a.wav"))
    service.until(lambda counts: counts.failed == 1)
    with running(service):
        pass
    assert (service.hooks.counts.waiting, service.hooks.counts.dropped) == (0, 1)


def test_a_new_configuration_counts_from_the_next_event_on(tmp_path):
    told = tmp_path / "told"
    service = Service(on_chunk=appending(told, "old"))
    service.publish(published(tmp_path / "a.wav"))
    service.hooks.step(0.0)
    service.hooks.configure(HooksConfig(on_chunk=appending(told, "new")))
    service.publish(published(tmp_path / "b.wav"))
    service.until(lambda counts: counts.succeeded == 2)
    assert sorted(lines(told)) == ["new", "old"]


def test_what_happens_after_the_end_is_not_heard_and_harms_nobody(tmp_path):
    service = Service(on_state=("/bin/true",))
    with running(service):
        pass
    service.change_state("idle")
    assert service.hooks.counts.waiting == 0
