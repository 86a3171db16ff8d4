"""A storage root is one recorder's, its owner's, and holds nothing else."""

import os

import pytest

from edgerec.store import ownership
from edgerec.store.disk import StoreError
from edgerec.store.ownership import check_owner, checkout_around, others_in
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


OTHER = 65_534  # nobody, on every Debian


@pytest.fixture
def as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def belongs_to(monkeypatch, folder, uid, new_files_uid):
    """Make a folder, and what is made in it, seem to be users'; tests may run as anybody."""

    real = type(folder).stat

    def stat(path, **how):
        found = list(real(path, **how))
        found[4] = uid if path == folder else found[4]
        return os.stat_result(found)

    monkeypatch.setattr(type(folder), "stat", stat)
    made = []
    monkeypatch.setattr(
        ownership, "_uid_of_new_files", lambda where: made.append(where) or new_files_uid
    )
    return made


def test_root_is_refused_where_its_files_would_be_in_the_way(tmp_path, monkeypatch, as_root):
    belongs_to(monkeypatch, tmp_path, OTHER, new_files_uid=0)
    with pytest.raises(StoreError, match=r"it is \w+'s; do this as that user: sudo -u \w+ \.\.\."):
        StorageRoot(tmp_path).acquire()
    assert list(tmp_path.iterdir()) == []


def test_root_may_use_what_is_its_own(tmp_path, monkeypatch, as_root):
    assert belongs_to(monkeypatch, tmp_path, 0, new_files_uid=0) == []
    check_owner(tmp_path)


def test_root_may_use_a_file_system_that_gives_all_files_to_one_user(
    tmp_path, monkeypatch, as_root
):
    assert belongs_to(monkeypatch, tmp_path, OTHER, new_files_uid=OTHER) == []
    check_owner(tmp_path)


def test_what_a_user_without_a_name_owns_is_refused_too(tmp_path, monkeypatch, as_root):
    belongs_to(monkeypatch, tmp_path, 4_000_000_000, new_files_uid=0)
    with pytest.raises(StoreError, match="4000000000"):
        check_owner(tmp_path)


def test_another_user_is_left_to_the_modes_of_the_folder(tmp_path, monkeypatch):
    made = belongs_to(monkeypatch, tmp_path, OTHER, new_files_uid=0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_owner(tmp_path)
    assert made == []


def test_the_look_leaves_nothing(tmp_path):
    assert ownership._uid_of_new_files(tmp_path) == os.geteuid()
    assert list(tmp_path.iterdir()) == []
