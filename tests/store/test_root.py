import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest

from edgerec.store.disk import StoreError
from edgerec.store.root import RootHeldError, StorageRoot
from tests.rigs.failing_disk import failing_call, open_files, recorded_calls


def test_acquiring_makes_the_folders_for_the_owner_and_his_group_only(tmp_path):
    with StorageRoot(tmp_path / "root") as root:
        for folder in (root.path, root.work, root.state, root.ready, root.quarantine):
            assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0


@pytest.mark.parametrize("before", [None, 0o755, 0o770, 0o2775])
def test_only_the_owner_can_reach_the_lock_the_state_and_what_is_in_progress(tmp_path, before):
    """Who can open the lock file can hold it, and no start would ever succeed."""
    root = StorageRoot(tmp_path / "root")
    if before is not None:
        root.path.mkdir()
        for folder in (root.state, root.work):
            folder.mkdir()
            folder.chmod(before)
    with root:
        for folder in (root.state, root.work):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((root.state / "lock").stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(root.ready.stat().st_mode) == 0o750 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_system_without_modes_is_used_as_it_is(tmp_path, monkeypatch, caplog):
    (tmp_path / ".state").mkdir(mode=0o755)

    def chmod(path, mode, **how):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", chmod)
    with StorageRoot(tmp_path):
        pass
    assert "can't make a folder private" in caplog.text


def test_a_second_holder_is_told_who_holds_it_and_harms_nothing(tmp_path):
    with StorageRoot(tmp_path) as root:
        before = (root.state / "lock").read_bytes()
        with pytest.raises(RootHeldError, match=f"process {os.getpid()} holds it") as caught:
            StorageRoot(tmp_path).acquire()
        assert caught.value.pid == str(os.getpid())
        assert (root.state / "lock").read_bytes() == before


def test_a_holder_in_another_process_is_named(tmp_path):
    script = (
        "import sys; from pathlib import Path; from edgerec.store.root import StorageRoot;"
        "StorageRoot(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RootHeldError) as caught:
            StorageRoot(tmp_path).acquire()
        assert caught.value.pid == str(holder.pid)
        holder.kill()
    StorageRoot(tmp_path).acquire()  # the lock ended with the process


def test_releasing_lets_the_next_one_in(tmp_path):
    with StorageRoot(tmp_path):
        pass
    with StorageRoot(tmp_path):
        pass


def test_sessions_are_counted_across_restarts_and_know_the_one_before(tmp_path):
    sessions = []
    for _ in range(3):
        with StorageRoot(tmp_path) as root:
            sessions.append(root.open_session("k1"))
    assert [session.number for session in sessions] == [1, 2, 3]
    assert [session.previous for session in sessions] == [None, sessions[0].id, sessions[1].id]
    assert len({session.id for session in sessions}) == 3


def test_a_session_number_is_durable_before_it_is_used(tmp_path):
    with StorageRoot(tmp_path) as root:
        with recorded_calls() as calls:
            root.open_session("k1")
        assert calls[-2:] == [("fsync", "session.json.new"), ("fsync", ".state")]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"number": "x", "session": "y"}', "\0\0\0"])
def test_a_malformed_counter_is_set_aside_and_stops_nothing(tmp_path, text, caplog):
    with StorageRoot(tmp_path) as root:
        (root.state / "session.json").write_text(text)
        session = root.open_session("k1")
        assert (session.number, session.previous) == (1, None)
        assert [file.read_text() for file in root.quarantine.iterdir()] == [text]
        assert json.loads((root.state / "session.json").read_text())["number"] == 1
    assert "session counter is malformed" in caplog.text


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["session.json", "session.json.new", "root-id", "lock"])
def test_whatever_stands_in_the_state_folder_stops_no_start(tmp_path, name, make):
    (tmp_path / ".state").mkdir()
    make(tmp_path / ".state" / name)
    with StorageRoot(tmp_path) as root:
        root.check()
        assert root.open_session("k1").number == 1
        assert root.open_session("k1").number == 2
    with StorageRoot(tmp_path) as root:
        assert root.open_session("k1").number == 3


def test_a_state_folder_that_takes_nothing_costs_a_number_and_no_session(tmp_path, caplog):
    with StorageRoot(tmp_path) as root:
        first = root.open_session("k1")
        with failing_call(1, errno.EACCES):
            second = root.open_session("k1")
    assert (second.number, second.previous) == (2, first.id)
    assert "number of a session can't be saved" in caplog.text


@pytest.mark.parametrize("name", ["ready", "quarantine"])
def test_a_folder_that_can_not_be_made_stops_no_start(tmp_path, name, caplog):
    (tmp_path / name).touch()
    with StorageRoot(tmp_path) as root:
        root.open_session("k1")
        with pytest.raises(StoreError, match=name):
            root.make_folders("kiosk=k1") if name == "ready" else root.make_quarantine()
        (tmp_path / name).unlink()
        root.make_quarantine()
        root.make_folders("kiosk=k1", "date=2026-11-22")
        assert (root.ready / "kiosk=k1" / "date=2026-11-22").is_dir()
    assert "a folder can't be made yet" in caplog.text


def test_no_folder_is_made_again_in_the_mount_point_of_a_disk_that_was_taken_away(tmp_path):
    (tmp_path / "other").mkdir()
    with StorageRoot(tmp_path / "root") as root:
        swap(root.path, tmp_path / "other")
        for make in (root.make_folders, root.make_quarantine):
            with pytest.raises(StoreError):
                make()
        assert list(root.path.iterdir()) == []


def test_the_lock_names_its_holder_and_nothing_of_the_one_before(tmp_path):
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "lock").write_text("12345678901234\n")
    with StorageRoot(tmp_path) as root:
        assert (root.state / "lock").read_text().split() == [str(os.getpid())]


def test_what_a_dead_process_still_holds_is_waited_for(tmp_path):
    """One that is killed while it starts another leaves that the lock for a moment."""
    with StorageRoot(tmp_path) as root:
        path = root.state / "lock"
    dead = subprocess.Popen(["true"])
    dead.wait()
    held = os.open(path, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.pwrite(held, f"{dead.pid:<20}\n".encode(), 0)
    threading.Timer(0.2, os.close, (held,)).start()
    with StorageRoot(tmp_path) as root:
        assert (root.state / "lock").read_text().split() == [str(os.getpid())]


def test_a_holder_that_runs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.store.ownership.time.sleep", lambda seconds: pytest.fail("waited"))
    with StorageRoot(tmp_path), pytest.raises(RootHeldError):
        StorageRoot(tmp_path).acquire()


def test_a_refused_holder_keeps_nothing_open(tmp_path):
    with StorageRoot(tmp_path):
        held = open_files(tmp_path)
        with pytest.raises(RootHeldError):
            StorageRoot(tmp_path).acquire()
        assert open_files(tmp_path) == held


def test_a_root_whose_parent_is_missing_says_which_folder_to_make(tmp_path):
    with pytest.raises(
        StoreError,
        match=f"making the folder .*none/root: there is no {tmp_path}/none; make it first",
    ):
        StorageRoot(tmp_path / "none" / "root").acquire()


@pytest.mark.parametrize("name", ["ready", "quarantine"])
def test_a_folder_on_another_file_system_is_refused_before_anything_is_recorded(tmp_path, name):
    (tmp_path / name).symlink_to("/proc")  # one that every user has
    with pytest.raises(StoreError, match=f"{name}: it is on another file system than .*work"):
        StorageRoot(tmp_path).acquire()


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(StoreError, match=r"making the folder .*root: File exists"):
        StorageRoot(tmp_path / "root").acquire()


def swap(path, other):
    """Put another folder in the place of one, as a mount or an unmount does."""
    path.rename(path.with_name("away"))
    other.rename(path)


def test_a_root_that_is_where_it_was_is_fine(tmp_path):
    with StorageRoot(tmp_path / "root") as root:
        root.check()


@pytest.mark.parametrize("empty", [True, False], ids=["a mount point", "another disk"])
def test_a_root_whose_disk_was_taken_away_is_noticed(tmp_path, empty):
    other = tmp_path / "other"
    if empty:
        other.mkdir()
    else:
        StorageRoot(other).acquire()
    with StorageRoot(tmp_path / "root") as root:
        swap(root.path, other)
        with pytest.raises(StoreError):
            root.check()


def test_a_disk_that_comes_back_is_locked_anew(tmp_path):
    with StorageRoot(tmp_path / "root") as root:
        shutil.copytree(root.path, tmp_path / "other")
        swap(root.path, tmp_path / "other")  # the same files, as another device
        root.check()
        root.check()
        with pytest.raises(RootHeldError):
            StorageRoot(tmp_path / "root").acquire()


def test_who_holds_the_lock_is_said_in_place(tmp_path):
    """A full disk has no room for a longer file."""
    sizes = []
    for _ in range(2):
        with StorageRoot(tmp_path) as root:
            sizes.append((root.state / "lock").stat().st_size)
    assert len(set(sizes)) == 1


def test_a_lock_that_can_not_be_written_is_let_go(tmp_path, monkeypatch):
    def unable(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", unable)
        with pytest.raises(StoreError, match="Input/output error"):
            StorageRoot(tmp_path).acquire()
    with StorageRoot(tmp_path):
        assert len(open_files(tmp_path)) == 1
