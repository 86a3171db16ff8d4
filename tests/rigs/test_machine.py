"""What the processes of a rig were kept waiting counts, where and when they were."""

import os
import subprocess
import sys
from contextlib import closing

import pytest

from edgerec.clock import raw_now_ns
from tests.rigs.machine import Machine, family
from tests.rigs.waiting import wait_for
from tests.rigs.witness import MachineStalledError

SPINS = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


@pytest.fixture
def machine(witness, figures):
    with closing(Machine(witness, figures)) as machine:
        yield machine


def test_two_processes_that_want_the_same_core_wait_for_each_other_and_that_explains(machine):
    core = min(os.sched_getaffinity(0))
    began_ns = raw_now_ns()
    spinning = [subprocess.Popen([sys.executable, "-S", "-c", SPINS % core]) for _ in range(2)]
    try:
        machine.watch(lambda: [spinning[0].pid])
        wait_for(lambda: machine.waited_s(began_ns, raw_now_ns()) > 0.5)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert machine.waited_s(began_ns - 2_000, began_ns - 1_000) < 0.5
    with pytest.raises(MachineStalledError, match="a hole; the machine was late"):
        machine.explain("a hole", began_ns, raw_now_ns(), stall_s=0.5)
    with pytest.raises(AssertionError, match="a hole; the machine was late"):
        machine.explain("a hole", began_ns, raw_now_ns(), stall_s=3600.0)


def test_what_a_rigs_own_feeder_was_late_counts(machine):
    machine.watch_feeder(lambda start_ns, stop_ns: 0.25)
    assert machine.waited_s(0, 1) >= 0.25


def test_what_a_process_has_started_is_of_its_family():
    with subprocess.Popen(["sh", "-c", "sleep 3600 & wait"]) as parent:
        try:
            wait_for(lambda: len(family(parent.pid)) == 2)
        finally:
            for pid in family(parent.pid):
                os.kill(pid, 9)
