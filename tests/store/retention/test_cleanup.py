import errno
import logging
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.stamps import SETTLED_NS, AgeClock
from edgerec.store.retention.cleanup import (
    FILES_A_STEP,
    ROOM_NS,
    SWEEP_NS,
    Cleanup,
)
from edgerec.store.retention.plan import ORPHAN_KEPT_NS
from edgerec.store.root import StorageRoot
from tests.rigs.cleanup_rig import (
    QUOTA,
    Clocks,
    S,
    acknowledge,
    finish_sweep,
    record,
    size,
    sweep,
    there,
)
from tests.rigs.damaged_files import damage_json
from tests.rigs.made_recordings import REPORTS, START_UTC_NS, quiet_span, recording, stamp_of

DAY_NS = 86_400 * S


def test_acknowledged_files_go_first_and_no_more_of_them_than_needed(root):
    paths = record(root)
    acknowledge(paths[1:])
    total = sum(size(path) for path in root.ready.rglob("*.wav"))
    record_bytes = sum(path.stat().st_size for path in root.ready.rglob("*_session.json"))
    room_for = total + record_bytes - size(paths[1]) - 1
    sweep(root, replace(QUOTA, max_bytes=room_for))
    assert there(paths) == [True, False, False, True]


def test_what_was_fetched_is_deleted_with_its_sidecar_and_its_acknowledgement(root):
    paths = record(root)
    acknowledge(paths[:1])
    sweep(root, replace(QUOTA, max_bytes=1))
    stem = paths[0].stem
    assert not list(root.ready.rglob(f"{stem}*"))


def test_what_no_sync_job_has_fetched_stays_whatever_the_limits_are(root):
    paths = record(root)
    sweep(root, replace(QUOTA, max_bytes=1, max_age_ns=1, min_free_bytes=10**18))
    assert all(there(paths))


def test_what_no_sync_job_has_fetched_goes_last_where_that_is_allowed_and_loudly(root, caplog):
    paths = record(root)
    acknowledge(paths[2:])
    kept = size(paths[1]) + sum(p.stat().st_size for p in root.ready.rglob("*_session.json"))
    sweep(root, replace(QUOTA, max_bytes=kept, keep_unacknowledged=False))
    assert there(paths) == [False, True, False, False]
    [loud] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert paths[0].stem in loud.getMessage()


def test_what_is_recorded_first_goes_first_whatever_the_wall_clock_said(root):
    ahead = record(
        root,
        "aaaaaaaa",
        1,
        stamps=lambda f: replace(stamp_of(f), utc_ns=stamp_of(f).utc_ns + DAY_NS),
    )
    behind = record(root, "bbbbbbbb", 2)
    acknowledge(ahead + behind)
    cleanup = sweep(root, QUOTA)
    sweep(root, replace(QUOTA, max_bytes=cleanup.space.stored_bytes - 3 * size(ahead[0])))
    assert there(ahead) == [False, False, False, True]
    assert all(there(behind))


def test_what_is_older_than_allowed_goes(root):
    paths = record(root)
    acknowledge(paths)
    clocks = Clocks(START_UTC_NS + 2 * DAY_NS)
    sweep(root, replace(QUOTA, max_age_ns=2 * DAY_NS + SETTLED_NS - S // 4), clocks)
    # an hour and 0.25 s less than two days before the first ended at 0.1, the others later
    assert there(paths) == [False, False, True, True]


@pytest.mark.parametrize(
    ("clocks", "settled"),
    [(Clocks(START_UTC_NS + 9 * DAY_NS), False), (Clocks(START_UTC_NS, trusted=False), True)],
    ids=["trusted for less than an hour", "not trusted"],
)
def test_nothing_is_too_old_by_a_wall_clock_that_nobody_can_rely_on(root, clocks, settled):
    paths = record(root)
    acknowledge(paths)
    sweep(root, replace(QUOTA, max_age_ns=1), clocks, settled=settled)
    assert all(there(paths))


def test_a_recording_made_before_the_wall_clock_was_known_is_never_too_old(root):
    paths = record(root, stamps=lambda frame: stamp_of(frame, trusted=False))
    acknowledge(paths)
    sweep(root, replace(QUOTA, max_age_ns=1), Clocks(START_UTC_NS + 9 * DAY_NS))
    assert all(there(paths))


@pytest.mark.parametrize("jump_ns", [3650 * DAY_NS, -3650 * DAY_NS, S, -S])
def test_no_step_of_the_wall_clock_makes_a_file_old(jump_ns):
    clocks, age = Clocks(), AgeClock()
    age.utc_ns(clocks.now)
    clocks.later(SETTLED_NS)
    before = age.utc_ns(clocks.now)
    clocks.later(0, jump_ns=jump_ns)
    assert age.utc_ns(clocks.now) == before + min(jump_ns, 0)


def test_an_orphan_sidecar_goes_after_a_day(root):
    paths = record(root)
    paths[0].unlink()
    clocks = Clocks(START_UTC_NS + ORPHAN_KEPT_NS - SETTLED_NS)
    sweep(root, QUOTA, clocks)
    assert paths[0].with_suffix(".json").exists()
    sweep(root, QUOTA, Clocks(START_UTC_NS + ORPHAN_KEPT_NS + S))
    assert not paths[0].with_suffix(".json").exists()
    assert all(there(paths[1:]))


def test_the_record_of_a_session_goes_a_day_after_all_audio_of_it_was_picked_up(root):
    picked_up, partly = record(root, "aaaaaaaa", 1), record(root, "bbbbbbbb", 2)
    for path in (*picked_up, *partly[1:]):
        path.unlink()
    cleanup = sweep(root, QUOTA, Clocks(START_UTC_NS + ORPHAN_KEPT_NS - SETTLED_NS))
    assert len(list(root.ready.rglob("*_session.json"))) == 2
    cleanup = sweep(root, QUOTA, Clocks(START_UTC_NS + ORPHAN_KEPT_NS + S))
    [left] = root.ready.rglob("*_session.json")
    assert "bbbbbbbb" in left.name
    assert cleanup.space.unacknowledged_bytes == size(partly[0]) + left.stat().st_size


def test_empty_folders_are_removed_and_others_are_not(root):
    acknowledge(record(root, "aaaaaaaa", 1))
    [folder] = root.ready.glob("*/*")
    for record_file in folder.glob("*_session.json"):
        record_file.unlink()
    other = root.ready / "kiosk=k2" / "date=2026-11-22"
    other.mkdir(parents=True)
    (other / "notes.txt").touch()
    sweep(root, replace(QUOTA, max_bytes=1))
    assert list(root.ready.iterdir()) == [other.parent]


def test_files_in_progress_and_strangers_are_never_touched(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 50), REPORTS)
    work = sorted(root.work.iterdir())
    folder = root.ready / "kiosk=k1" / "date=2026-11-22"
    folder.mkdir(parents=True)
    (folder / "X.ack").touch()
    (folder / "X.wav").touch()
    sweep(root, replace(QUOTA, max_bytes=1, max_age_ns=1, keep_unacknowledged=False))
    assert sorted(root.work.iterdir()) == work
    assert len(list(folder.iterdir())) == 2
    session.finish("stop")


def test_a_pipe_in_place_of_a_sidecar_holds_nobody_up(root):
    paths = record(root)
    sidecar = paths[0].with_suffix(".json")
    sidecar.unlink()
    os.mkfifo(sidecar)
    acknowledge(paths)
    sweep(root, replace(QUOTA, max_bytes=1))
    assert there(paths) == [False] * len(paths)


def test_a_step_deletes_only_a_few_files(root, monkeypatch):
    paths = record(root, chunks=2 * FILES_A_STEP)
    acknowledge(paths)
    cleanup = Cleanup(root, replace(QUOTA, max_bytes=1), bytes_per_s=1.0, stamp_now=Clocks())
    left = len(paths)
    while left:
        cleanup.step(0)
        now = sum(there(paths))
        assert left - now <= FILES_A_STEP
        left = now


def test_after_a_look_at_everything_the_next_waits(root):
    record(root)
    cleanup = sweep(root, QUOTA, settled=False)
    acknowledge(root.ready.rglob("*.wav"))
    before = cleanup.space
    cleanup.step(SWEEP_NS - 1)
    assert cleanup.space.unacknowledged_bytes == before.unacknowledged_bytes
    finish_sweep(cleanup, SWEEP_NS)
    assert cleanup.space.unacknowledged_bytes < before.unacknowledged_bytes


def test_space_says_what_there_is_and_for_how_long(root):
    paths = record(root)
    acknowledge(paths[:1])
    space = sweep(root, QUOTA).space
    system = os.statvfs(root.path)
    assert space.stored_bytes == sum(f.stat().st_size for f in root.ready.rglob("*.*"))
    assert space.stored_bytes - space.unacknowledged_bytes == size(paths[0])
    assert space.hours_left == pytest.approx(system.f_bavail * system.f_frsize / 3600, rel=0.1)


@pytest.mark.parametrize("name", ["scandir", "statvfs", "unlink", "rmdir"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_a_disk_that_fails_is_told_once_and_tried_again(root, caplog, monkeypatch, name, number):
    paths = record(root)
    acknowledge(paths)
    next(root.ready.rglob("*_session.json")).unlink()
    cleanup = Cleanup(root, replace(QUOTA, max_bytes=1), bytes_per_s=1.0, stamp_now=Clocks())

    def failing(*arguments, **how):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        for attempt in range(2):
            finish_sweep(cleanup, attempt * SWEEP_NS)
            assert os.strerror(number) in cleanup.trouble
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
    finish_sweep(cleanup, 2 * SWEEP_NS)
    assert cleanup.trouble is None
    assert not list(root.ready.iterdir())


@settings(max_examples=40)
@given(random=st.randoms(use_true_random=False), times=st.integers(1, 6))
def test_sidecars_that_say_anything_end_no_look_at_what_is_stored(tmp_path_factory, random, times):
    with StorageRoot(tmp_path_factory.mktemp("root")) as root:
        paths = record(root)
        for path in root.ready.rglob("*.json"):
            damage_json(path, random, times)
        path.write_bytes(b"[" * 200_000)
        os.truncate(path, random.choice([0, 200_000, 1 << 38]))
        acknowledge(paths)
        cleanup = Cleanup(root, replace(QUOTA, max_bytes=1), bytes_per_s=1.0, stamp_now=Clocks())
        finish_sweep(cleanup, 0)
        assert cleanup.space is not None
        assert not list(root.ready.rglob("*.wav"))


def test_acknowledged_files_go_for_inodes_too(root, monkeypatch):
    paths = record(root)
    acknowledge(paths[1:])
    real = os.statvfs

    class Full:
        def __init__(self, path):
            there = real(path)
            self.f_bavail, self.f_frsize, self.f_files = there.f_bavail, there.f_frsize, 100
            self.f_favail = 5 - 4 + 3 * (4 - len(list(root.ready.rglob("*.wav"))))

    monkeypatch.setattr(os, "statvfs", Full)
    cleanup = sweep(root, QUOTA)
    assert there(paths) == [True, False, False, True]  # 3 files each; 4 inodes were missing
    assert cleanup.space.short_files == 0


class Room:
    """A file system with as much room as the test says, and four times that in all."""

    def __init__(self, patch):
        self.free_bytes = 10**9
        self.looks = 0
        patch.setattr(os, "statvfs", self._ask)

    def _ask(self, path):
        self.looks += 1
        return os.statvfs_result((1, 1, 4 * 10**9, 0, self.free_bytes, 0, 0, 0, 0, 255))


def test_room_that_goes_between_two_looks_at_everything_is_told_and_made(root, monkeypatch):
    room = Room(monkeypatch)
    paths = record(root)
    acknowledge(paths[:1])
    cleanup = sweep(root, replace(QUOTA, min_free_bytes=10**6), settled=False)
    assert cleanup.space.free_bytes == 10**9
    room.free_bytes = 10
    cleanup.step(ROOM_NS - 1)
    assert cleanup.space.free_bytes == 10**9
    finish_sweep(cleanup, ROOM_NS)
    assert cleanup.space.free_bytes == 10
    assert there(paths) == [False, True, True, True]
    acknowledge(paths[1:2])
    cleanup.step(2 * ROOM_NS)  # room is lacking still: everything is looked at once a minute
    assert cleanup._sweep is None
    room.free_bytes = 10**9
    cleanup.step(3 * ROOM_NS)
    assert cleanup._sweep is None
    assert cleanup.space.free_bytes == 10**9
    assert there(paths) == [False, True, True, True]


def test_a_file_system_that_does_not_answer_is_asked_again(root, monkeypatch):
    cleanup = sweep(root, QUOTA, settled=False)
    before = cleanup.space

    def fail(_path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", fail)
        cleanup.step(ROOM_NS)
    assert cleanup.space == before
    room = Room(monkeypatch)
    cleanup.step(2 * ROOM_NS)
    assert (cleanup.space.free_bytes, room.looks) == (10**9, 1)
