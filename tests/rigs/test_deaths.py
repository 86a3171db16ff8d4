"""A thread or process of a rig that dies fails the test that waits for it, at once and by name."""

import subprocess
import sys
import threading

import pytest

from tests import CHECKOUT
from tests.rigs import deaths
from tests.rigs.waiting import wait_for

NEVER = 3600.0  # no test waits for so long


def die():
    raise BlockingIOError(11, "the pipe is full")


def test_a_thread_that_dies_ends_a_wait_for_what_it_should_have_done():
    threading.Thread(target=die, name="feeder of mic").start()
    with pytest.raises(deaths.RigDiedError, match=r"(?s)feeder of mic died.*BlockingIOError"):
        wait_for(lambda: False, within_s=NEVER)


def test_a_process_that_fails_ends_a_wait_too():
    process = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    deaths.watch_process("the player", process)
    with pytest.raises(deaths.RigDiedError, match="the player ended with status 7"):
        wait_for(lambda: False, within_s=NEVER)


def test_a_process_that_ends_well_or_that_the_test_ends_itself_is_no_death():
    well = subprocess.Popen([sys.executable, "-S", "-c", ""])
    killed = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    deaths.watch_process("the player", well)
    deaths.watch_process("the recorder", killed)
    deaths.forget(killed)
    killed.kill()
    with killed:
        well.wait()
        killed.wait()
    deaths.check()


def test_a_process_that_is_to_go_on_must_not_even_end_well():
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    deaths.watch_process("the recorder", process, may_end=False)
    with pytest.raises(deaths.RigDiedError, match="the recorder ended with status 0"):
        wait_for(lambda: False, within_s=NEVER)


def test_a_test_that_did_not_wait_fails_at_its_end(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makeconftest(
        "from tests.conftest import _rigs_live\npytest_plugins = ['tests.closing_lines']"
    )
    pytester.makepyfile(
        "import threading\n"
        "def test_that_looks_at_nothing():\n"
        "    thread = threading.Thread(target=lambda: 1 / 0, name='feeder of mic')\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*feeder of mic died:*", "*ZeroDivisionError*"])
