import os
import shutil

import pytest

from edgerec.store.archive.tree import walk
from edgerec.store.disk import StoreError


def make(top, *names):
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_come_in_order_at_any_depth_without_what_is_unpublished(tmp_path):
    make(tmp_path, "b/2", "b/1", "a/x/3", "0", ".work/4", "quarantine/5", "a/.state/6")
    assert [str(path.relative_to(tmp_path)) for path in walk(tmp_path)] == [
        "0",
        "a/x/3",
        "b/1",
        "b/2",
    ]


def test_a_tree_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"listing .*gone"):
        list(walk(tmp_path / "gone"))


def test_a_folder_that_can_t_be_listed_is_an_error(tmp_path, monkeypatch):
    make(tmp_path, "a/1")
    really = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(StoreError, match=r"listing .*/a: Permission denied"):
        list(walk(tmp_path))


def test_a_folder_that_goes_meanwhile_had_nothing_in_it(tmp_path):
    make(tmp_path, "0", "a/1", "b/2")
    found = []
    for path in walk(tmp_path):
        found.append(path.name)
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
    assert found == ["0", "2"]
