"""A storage root begins in a folder that holds nothing else."""

import os

import pytest

from edgerec.store.company import checkout_around, others_in
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot


def test_a_folder_that_holds_other_things_becomes_no_storage_root(tmp_path):
    for name in ("README.md", "docs", "setup.py", "tests"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError) as refused:
        StorageRoot(tmp_path).acquire()
    assert refused.value.problem == (
        "it holds 'README.md', 'docs', 'setup.py' and 1 more; give storage.root a folder of its own"
    )
    assert sorted(tmp_path.iterdir()) == before


def test_what_comes_into_one_later_stops_no_start(tmp_path):
    with StorageRoot(tmp_path):
        pass
    (tmp_path / "notes.txt").touch()
    with StorageRoot(tmp_path):
        assert others_in(tmp_path) == "'notes.txt'"


@pytest.mark.parametrize(
    "name", ["lost+found", "System Volume Information", ".Trash-1000", "ready", "quarantine"]
)
def test_what_a_disk_or_an_earlier_recorder_has_left_is_nothing_else(tmp_path, name):
    (tmp_path / name).mkdir()
    with StorageRoot(tmp_path):
        assert others_in(tmp_path) == ""


def test_a_name_is_told_so_that_a_terminal_can_show_it(tmp_path):
    (tmp_path / "a\x1b[31m").touch()
    assert others_in(tmp_path) == r"'a\x1b[31m'"


def test_the_nearest_checkout_is_found_at_a_folder_and_above_it(tmp_path):
    (tmp_path / "outer" / ".git").mkdir(parents=True)
    worktree = tmp_path / "outer" / "worktree"
    worktree.mkdir()
    (worktree / ".git").touch()  # a file that says where the repository is
    assert checkout_around(worktree) == worktree
    assert checkout_around(tmp_path / "outer" / "not" / "there") == tmp_path / "outer"
    assert checkout_around(tmp_path) is None


NOBODY = 65534


@pytest.fixture
def closed(tmp_path):
    """A folder that may not be looked into, for somebody who is not root."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield folder
    os.seteuid(user)


@pytest.mark.parametrize("require_mount", [False, True])
def test_a_folder_above_that_is_closed_is_an_error_of_the_disk(closed, require_mount):
    """As homes are in the unit's sandbox; a start that fails so ends with a sentence."""
    with pytest.raises(StoreError, match=r"Permission denied.*ProtectHome"):
        StorageRoot(closed / "pi" / "recordings", require_mount=require_mount).acquire()
