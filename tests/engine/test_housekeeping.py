"""A chore that fails costs itself: it is told, tried again later, and the others go on."""

import pytest

from edgerec.engine.engine import Engine
from edgerec.engine.housekeeping import RETRY_NS, Chore, Housekeeping
from edgerec.store.archive.verify import verify
from edgerec.store.retention.cleanup import Cleanup
from tests.rigs.fakes import config
from tests.rigs.recorder_rig import RunningClock, handed, wait_for_end


class Work:
    def __init__(self, error=None):
        self.error = error
        self.calls = []

    def __call__(self, now_ns):
        self.calls.append(now_ns)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [OSError("EIO"), RecursionError(), MemoryError(), KeyError("a")])
def test_a_chore_that_fails_is_told_once_and_tried_again_and_costs_no_other(error, caplog):
    bad, good = Work(error), Work()
    house = Housekeeping([Chore("retention", bad), Chore("memory", good)])
    for now_ns in (0, 1, RETRY_NS, 2 * RETRY_NS):
        house.step(now_ns)
    assert bad.calls == [0, RETRY_NS, 2 * RETRY_NS]
    assert len(good.calls) == 4
    (reason,) = house.reasons()
    assert (reason.code, reason.why[:17]) == ("housekeeping", "retention failed:")
    assert len(caplog.records) == 1
    bad.error = None
    house.step(3 * RETRY_NS)
    assert house.reasons() == ()


def test_a_chore_with_an_interval_is_first_done_after_it_and_sooner_when_it_has_failed():
    rare = Work()
    house = Housekeeping([Chore("drift", rare, 10 * RETRY_NS)])
    for now_ns in range(0, 25 * RETRY_NS, RETRY_NS):
        house.step(now_ns)
    assert rare.calls == [10 * RETRY_NS, 20 * RETRY_NS]
    rare.error = OSError("EIO")
    for now_ns in range(29 * RETRY_NS, 32 * RETRY_NS, RETRY_NS):
        house.step(now_ns)
    assert rare.calls[2:] == [30 * RETRY_NS, 31 * RETRY_NS]


def test_the_last_of_a_chore_may_fail_too():
    house = Housekeeping([Chore("echo", lambda now_ns: None, last=lambda: 1 / 0)])
    house.finish()
    assert "division" in house.reasons()[0].why


def test_a_bug_in_retention_ends_no_recording(tmp_path, sources, monkeypatch):
    monkeypatch.setattr(Cleanup, "step", lambda cleanup, now_ns: 1 / 0)
    recorder = Engine(
        config(tmp_path / "root"), clock=RunningClock(), length_s=5.0, around=handed(sources)
    )
    wait_for_end(recorder)
    assert [reason.code for reason in recorder.status().reasons].count("housekeeping") == 1
    assert verify(tmp_path / "root").ok
