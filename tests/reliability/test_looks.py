"""A disk that does all but one kind of look at what it holds."""

import json

import pytest

from edgerec.engine import recovery
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot
from tests.rigs.failing_disk import LOOKS, failing_looks
from tests.rigs.leftovers import crash
from tests.rigs.made_recordings import quiet_span
from tests.rigs.recorder_rig import Running, begun
from tests.rigs.waiting import wait_for

SWEEP_S = 65.0  # retention looks at everything once a minute
TOLD = {
    "stat": ({"disk", "publish"}, 5.0),  # what the writer thread came to first
    "lstat": ({"disk", "publish"}, 5.0),
    "scandir": ({"retention"}, SWEEP_S),
    "statvfs": ({"retention"}, SWEEP_S),
}
"""A reason that the status gives, and after how long; `listdir` is recovery's, at a start."""


def told_by(rig):
    """Return the reasons of the status that are of the look, and what they say."""
    reasons = {one.code: one.why for one in rig.recorder.status().reasons}
    return {code: why for code, why in reasons.items() if "Input/output error" in why}


@pytest.mark.parametrize("kind", TOLD)
def test_a_look_that_fails_while_it_records_is_told_and_costs_nothing(tmp_path, open_device, kind):
    codes, after_s = TOLD[kind]
    root = tmp_path / "root"
    with Running(root, open_device, chunk_seconds=1.0) as rig:
        begun(rig)
        with failing_looks(kind, root):
            let_pass(rig, after_s)
            wait_for(lambda: codes & told_by(rig).keys(), why=rig.recorder.status)
        let_pass(rig, 10.0)
        wait_for(lambda: not told_by(rig), why=rig.recorder.status)
        rig.finish()
    assert losses(root) == [{}]
    assert verify(root).ok


@pytest.mark.parametrize("kind", LOOKS)
def test_a_look_that_fails_at_the_start_is_told_and_costs_nothing_that_a_crash_left(
    tmp_path, open_device, kind, monkeypatch
):
    monkeypatch.setattr(recovery, "FIRST_RETRY_S", 0.1)
    root = tmp_path / "root"
    with StorageRoot(root) as held:
        crash(held, [quiet_span(0, 40)], synced=1)
    with failing_looks(kind, root):
        try:
            rig = Running(root, open_device, chunk_seconds=1.0)
        except StoreError as error:  # it says so, ends, and is started again
            assert f"{root}" in str(error) and "Input/output error" in str(error)
            rig = None
        else:
            let_pass(rig, 5.0)
            wait_for(lambda: told_by(rig), why=rig.recorder.status)
    with rig or Running(root, open_device, chunk_seconds=1.0) as rig:
        let_pass(rig, SWEEP_S)
        wait_for(lambda: not told_by(rig), why=rig.recorder.status)
        rig.finish()
    assert losses(root) == [{}, {}]
    assert list((root / ".work").iterdir()) == []
    assert verify(root).ok


def let_pass(rig, seconds):
    """Let time pass, no faster than the writer thread writes."""
    while seconds > 0:
        rig.let_pass(min(seconds, 5.0))
        seconds -= 5.0
        wait_for(lambda: rig.recorder.backlog().lag_s < 10.0)


def losses(root):
    records = root.glob("ready/*/*/*_session.json")
    return [json.loads(record.read_text())["losses"] for record in records]
