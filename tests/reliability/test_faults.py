import random
from dataclasses import replace

import pytest

from tests.campaigns.faults import TORN_S
from tests.rigs.cut_recording import why_no_mounts
from tests.rigs.faults.driver import possible, stage
from tests.rigs.faults.kiosk import can_step_down
from tests.rigs.waiting import PATIENCE_S
from tests.rigs.witness import MachineStalledError

SAMPLE = (
    "a full disk",
    "a day is read-only",
    "ready/ is a file",
    "a start on odd entries in .work/",
    "a feed: garbage behind a header",
)


@pytest.mark.long
def test_faults_one_after_the_other_cost_no_recording(witness, figures):
    """A sample: `scripts/campaign faults` draws from all kinds. Each takes some seconds to pass."""
    there = possible(disk=why_no_mounts() is None, user=can_step_down())
    faults = [replace(fault, hold_s=(0.0, 0.5)) for fault in there if fault.name in SAMPLE]
    with stage(random.Random(1), witness, PATIENCE_S) as driver:
        for fault in random.Random(1).sample(faults, k=len(faults)):
            outcome = driver.meet(fault)
            assert not outcome.problems, (fault.name, outcome.problems)
            if outcome.torn and outcome.late_s >= TORN_S:
                raise MachineStalledError(f"{fault.name}: {outcome.torn}")
            assert not outcome.torn, fault.name
            figures.note("a fault is over", outcome.ok_s, "s", limit=fault.ok_s)
            if fault.told:
                figures.note("a fault is told", outcome.told_s, "s", limit=fault.told_s)
        assert driver.finish() == []
