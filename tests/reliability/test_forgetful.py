import random
from contextlib import suppress
from itertools import count

import pytest

from edgerec.store.archive.verify import verify
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from tests.rigs.failing_disk import Killed, failing_call
from tests.rigs.forgetful_disk import ForgetfulDisk
from tests.rigs.leftovers import NEXT_BOOT
from tests.rigs.made_recordings import FOREVER, REPORTS, quiet_span, recording

FRAMES = 100


def record(path, published, durable):
    """A session in pieces of 20 frames, synced after each; tells what was durable at what time."""
    with StorageRoot(path) as root:
        session = recording(root, published, cutting=Cutting(40, FOREVER))
        for start in range(0, FRAMES, 20):
            session.write(quiet_span(start, 20), REPORTS)
            session.sync()
            durable.append(start + 20)
        session.finish("stop")


@pytest.mark.parametrize("luck", [0.0, 0.3, 0.7])
def test_a_power_cut_at_any_disk_call_costs_nothing_that_was_synced(memory_path, luck):
    for nth in count(1):
        folder, after = memory_path / f"{nth}", memory_path / f"{nth} after"
        (folder / "root").mkdir(parents=True)
        published, durable = [], [0]
        disk = ForgetfulDisk()
        with disk.watching():
            with failing_call(nth, None) as calls, suppress(Killed):
                record(folder / "root", published, durable)
            made = calls()
            disk.lose_power(folder / "root", after, random.Random(nth), luck=luck)
        with StorageRoot(after) as root:
            recover(root, NEXT_BOOT)
            assert not list(root.work.iterdir())
        assert verify(after).ok
        there = {path.name for path in after.rglob("ready/*/*/*")}
        assert {one.path.name for one in published} <= there
        assert held_frames(after) >= durable[-1]
        if made < nth:
            break
    assert nth > 60  # three chunks, each synced, closed and published, and the record


def held_frames(path):
    return sum((one.stat().st_size - 704) // 4 for one in path.glob("ready/*/*/*.wav"))
