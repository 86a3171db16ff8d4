"""Retention among entries that are not edgerec's, or that it can't delete."""

import errno
import os
import shutil
from dataclasses import replace

import pytest

from edgerec.store.retention.cleanup import (
    AGAIN_NS,
    SWEEP_NS,
)
from tests.rigs.cleanup_rig import QUOTA, S, acknowledge, finish_sweep, record, size, sweep, there


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def kiosk_behind_a_link(ready, aside):
    shutil.move(ready / "kiosk=k1", aside)
    link(ready / "kiosk=k1", aside / "kiosk=k1")


def day_behind_a_link(ready, aside):
    day = ready / "kiosk=k1" / "date=2026-11-22"
    shutil.move(day, aside)
    link(day, aside / day.name)


def unfetched(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"?")


ODD = {
    "an archive of a day": lambda r, a: unfetched(r / "kiosk=k1" / "date=2026-11-19.tar.gz"),
    "a file named as a kiosk": lambda r, a: unfetched(r / "kiosk=zz"),
    "a dangling day": lambda r, a: link(r / "kiosk=k1" / "date=2026-11-01", "nowhere"),
    "a looping day": lambda r, a: link(r / "kiosk=k1" / "date=2026-11-01", "date=2026-11-01"),
    "a dangling kiosk": lambda r, a: link(r / "kiosk=a", "nowhere"),
    "a looping kiosk": lambda r, a: link(r / "kiosk=a", "."),
    "a pipe": lambda r, a: os.mkfifo(r / "kiosk=k1" / "date=2026-11-01"),
    "a name that is not UTF-8": lambda r, a: unfetched(r / os.fsdecode(b"kiosk=\xff\n\x1b[2J")),
    "the longest name": lambda r, a: unfetched(r / ("kiosk=" + 249 * "x")),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_entry_is_named_and_everything_else_goes_on(root, tmp_path, odd):
    paths = record(root)
    acknowledge(paths)
    ODD[odd](root.ready, tmp_path / "aside")
    cleanup = sweep(root, replace(QUOTA, max_bytes=1))
    assert there(paths) == [False] * len(paths)
    assert cleanup.space is not None
    assert cleanup.trouble.isprintable()
    assert "kiosk=" in cleanup.trouble


@pytest.mark.parametrize("elsewhere", [kiosk_behind_a_link, day_behind_a_link])
def test_nothing_behind_a_link_is_ever_deleted(root, tmp_path, elsewhere):
    moved = record(root, "aaaaaaaa", 1)
    acknowledge(moved)
    aside = tmp_path / "aside"
    aside.mkdir()
    elsewhere(root.ready, aside)
    before = sorted(aside.rglob("*"))
    cleanup = sweep(root, replace(QUOTA, max_bytes=1, max_age_ns=1, keep_unacknowledged=False))
    assert sorted(aside.rglob("*")) == before
    assert "a link" in cleanup.trouble
    assert cleanup.space.stored_bytes == 0


def test_in_place_of_a_file_that_can_not_be_deleted_the_next_one_goes(root):
    paths = record(root)
    acknowledge(paths)
    paths[0].unlink()
    paths[0].mkdir()
    (paths[0] / "something").touch()
    keep = sum(path.stat().st_size for path in root.ready.rglob("*_session.json"))
    keep += size(paths[0]) + size(paths[3])
    cleanup = sweep(root, replace(QUOTA, max_bytes=keep), settled=False)
    assert there(paths) == [True, False, False, True]
    assert "Is a directory" in cleanup.trouble
    assert cleanup.space.stored_bytes == keep


def test_a_folder_that_another_user_owns_is_left_alone_and_the_rest_is_kept_in_order(
    root, monkeypatch
):
    theirs = record(root, "aaaaaaaa", 1)
    acknowledge(theirs)
    [day] = root.ready.glob("*/*")
    shutil.move(day, day.with_name("date=2026-11-21"))
    ours = record(root, "bbbbbbbb", 2)
    acknowledge(ours)
    unlink = os.unlink

    def refusing(path, **how):
        if "date=2026-11-21" in os.fspath(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        unlink(path, **how)

    monkeypatch.setattr(os, "unlink", refusing)
    cleanup = sweep(root, replace(QUOTA, max_bytes=1), settled=False)
    assert there(ours) == [False] * len(ours)
    assert len(list(root.ready.rglob("*_aaaaaaaa_*.wav"))) == len(theirs)
    assert "and 1 more" in cleanup.trouble  # of the four
    assert cleanup.space is not None


def test_trouble_is_looked_at_again_soon_and_then_less_and_less_often(root, monkeypatch):
    odd = root.ready / "kiosk=odd"
    odd.touch()
    cleanup = sweep(root, QUOTA, settled=False)
    looks_s = []
    real = cleanup._look_at_everything
    monkeypatch.setattr(cleanup, "_look_at_everything", lambda: looks_s.append(now_s) or real())
    for now_s in range(200):
        finish_sweep(cleanup, now_s * S)
    again_s = AGAIN_NS // S
    assert looks_s[:4] == [again_s, 3 * again_s, 7 * again_s, 7 * again_s + SWEEP_NS // S]
    odd.unlink()
    finish_sweep(cleanup, 300 * S)
    assert cleanup.trouble is None


def test_trouble_is_over_when_its_cause_is(root):
    odd = root.ready / "kiosk=odd"
    odd.touch()
    cleanup = sweep(root, QUOTA, settled=False)
    assert "not a folder" in cleanup.trouble
    odd.unlink()
    finish_sweep(cleanup, SWEEP_NS)
    assert cleanup.trouble is None
