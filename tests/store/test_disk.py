import errno
import os
import stat

import pytest

from edgerec.store import disk
from edgerec.store.disk import StoreError
from tests.rigs.failing_disk import failing_call, open_files, recorded_calls


def without_renameat2(error):
    def rename(source, target):
        raise OSError(error, os.strerror(error))

    return rename


def test_a_failure_says_what_was_being_done_to_what_and_what_to_do(tmp_path):
    with pytest.raises(StoreError) as caught, disk.disk_step("writing", tmp_path / "a.wav"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"writing {tmp_path}/a.wav: No space left on device "
        "(free space or inodes on this file system, or move storage.root to another)"
    )
    assert (caught.value.path, caught.value.errno) == (tmp_path / "a.wav", errno.ENOSPC)


def test_short_writes_are_carried_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    disk.write_new(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_new_file_is_synced(tmp_path):
    with recorded_calls() as calls:
        disk.write_new(tmp_path / "a", b"x")
    assert calls == [("fsync", "a")]


def test_replacing_syncs_the_new_content_then_its_name(tmp_path):
    with recorded_calls() as calls:
        disk.replace(tmp_path / "a", b"x")
    assert calls == [("unlink", "a.new"), ("fsync", "a.new"), ("fsync", tmp_path.name)]


def test_replacing_goes_over_what_a_crash_left_halfway(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a.new").write_bytes(b"half")
    disk.replace(tmp_path / "a", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_replacing_that_fails_leaves_the_old_content_or_the_new(tmp_path, error):
    path = tmp_path / "a"
    for nth in range(1, 20):
        path.write_bytes(b"old")
        with failing_call(nth, error) as calls:
            try:
                disk.replace(path, b"new")
            except StoreError as failure:
                assert failure.errno == error
            else:
                assert calls() < nth
        assert path.read_bytes() in (b"old", b"new")
        if calls() < nth:
            break
    assert (
        nth == 10
    )  # two looks, unlink, open, write, fsync, replace, open, fsync; then one clean run


@pytest.mark.parametrize("error", [None, errno.ENOSYS, errno.EINVAL])
def test_moving_never_overwrites(tmp_path, monkeypatch, error):
    if error:
        monkeypatch.setattr(disk, "_rename_noreplace", without_renameat2(error))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    with pytest.raises(StoreError, match=r"moving .*source to .*target: File exists"):
        disk.move(source, target)
    assert (source.read_bytes(), target.read_bytes()) == (b"new", b"old")
    target.unlink()
    disk.move(source, target)
    assert target.read_bytes() == b"new"
    assert not source.exists()


def test_a_c_library_without_renameat2_moves_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_LIBC", object())
    (tmp_path / "source").write_bytes(b"new")
    disk.move(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_syncing_keeps_nothing_open(tmp_path):
    (tmp_path / "a").touch()
    disk.sync_file(tmp_path / "a")
    assert open_files(tmp_path) == []


def refuses(number):
    def refuse(*arguments, **how):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("rename", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
@pytest.mark.parametrize("link", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_file_system_on_which_nothing_can_be_published_is_refused(
    tmp_path, monkeypatch, rename, link
):
    """exFAT through FUSE, and buckets mounted by rclone: neither way to publish is there."""
    monkeypatch.setattr(disk, "_rename_noreplace", refuses(rename))
    disk.check_movable(tmp_path, tmp_path)  # one of the two is enough
    monkeypatch.setattr(os, "link", refuses(link))
    with pytest.raises(StoreError, match="nothing could ever be published"):
        disk.check_movable(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", ["open", "rename"])
def test_other_trouble_with_a_probe_refuses_nothing(tmp_path, monkeypatch, number, call):
    if call == "open":
        monkeypatch.setattr(os, "open", refuses(number))
    else:
        monkeypatch.setattr(disk, "_rename_noreplace", refuses(number))
    disk.check_movable(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_probe_that_a_crash_has_left_behind_is_removed_by_the_next(tmp_path):
    ready = tmp_path / "ready"
    ready.mkdir()
    for folder in (tmp_path, ready):
        (folder / ".edgerec-probe-1234").touch()
    disk.check_movable(tmp_path, ready)
    assert list(tmp_path.iterdir()) == [ready]
    assert list(ready.iterdir()) == []


def test_moving_does_not_try_another_way_after_a_real_error(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_rename_noreplace", without_renameat2(errno.EIO))
    (tmp_path / "source").write_bytes(b"new")
    with pytest.raises(StoreError, match="Input/output error"):
        disk.move(tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_new_folders_are_durable_and_closed_to_others(tmp_path):
    with recorded_calls() as calls:
        assert disk.make_folders(tmp_path, "a", "b") == tmp_path / "a" / "b"
    assert calls == [("fsync", tmp_path.name), ("fsync", "a")]
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) & 0o027 == 0


def test_folders_that_exist_are_synced_all_the_same(tmp_path):
    disk.make_folders(tmp_path, "a")
    with recorded_calls() as calls:
        disk.make_folders(tmp_path, "a")
    assert calls == [("fsync", tmp_path.name)]


def test_read_only_keeps_who_may_read_as_the_umask_had_it(tmp_path):
    path = tmp_path / "a"
    for before, after in ((0o640, 0o440), (0o600, 0o400), (0o664, 0o444)):
        path.touch()
        path.chmod(before)
        disk.make_read_only(path)
        assert stat.S_IMODE(path.stat().st_mode) == after
