"""Root leaves no files in another user's storage root."""

import os

import pytest

from edgerec.store import owner
from edgerec.store.disk import StoreError
from edgerec.store.owner import check_owner
from edgerec.store.root import StorageRoot

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
        owner, "_uid_of_new_files", lambda where: made.append(where) or new_files_uid
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
    assert owner._uid_of_new_files(tmp_path) == os.geteuid()
    assert list(tmp_path.iterdir()) == []
