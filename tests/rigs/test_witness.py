"""The witness tells what this machine did, and whether that explains a bound that was exceeded."""

import os
import signal
import time

import pytest

from edgerec.clock import raw_now_ns
from tests.rigs.witness import MachineStalledError

STALL_S = 0.3


@pytest.fixture
def stalled(witness):
    """A span in which the machine, as far as the witness can see, stood still."""
    began_ns = raw_now_ns()
    os.kill(witness.pid, signal.SIGSTOP)
    time.sleep(STALL_S)
    os.kill(witness.pid, signal.SIGCONT)
    return began_ns, raw_now_ns()


def test_a_machine_that_stands_still_is_seen_on_every_core(witness, stalled):
    stalls = witness.stalls(*stalled)
    assert {core for core in stalls if core >= 0} == os.sched_getaffinity(0)
    for core in os.sched_getaffinity(0):
        assert max(stalls[core]) > STALL_S / 2
    assert witness.lost_s(*stalled) >= max(map(max, stalls.values()))


def test_what_was_before_and_after_a_span_does_not_count(witness, stalled):
    began_ns, ended_ns = stalled
    middle_ns = (began_ns + ended_ns) // 2
    assert witness.lost_s(middle_ns, middle_ns + 1_000_000) <= 0.001
    assert witness.lost_s(began_ns - 2_000_000, began_ns - 1_000_000) <= 0.001


def test_a_bound_is_the_machines_if_it_stood_still_for_as_long_and_ours_otherwise(witness, stalled):
    lost_s = witness.lost_s(*stalled)
    with pytest.raises(MachineStalledError, match=r"found after 2 s; the machine was late"):
        witness.explain("found after 2 s", *stalled, stall_s=lost_s)
    with pytest.raises(AssertionError, match=r"found after 2 s; the machine was late"):
        witness.explain("found after 2 s", *stalled, stall_s=lost_s + 0.001)
