"""What a folder is kept on, by the kernel's table of mounts."""

import os

import pytest

from edgerec.store.mount import medium_of


def device(folder):
    number = folder.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def row(number, kind, source="none", options="rw", place="/x"):
    return f"36 35 {number} / {place} rw,noatime shared:1 - {kind} {source} {options}\n"


def found(folder, table, command_line="quiet"):
    mounts, said = folder.parent / "mountinfo", folder.parent / "cmdline"
    mounts.write_bytes(table if isinstance(table, bytes) else table.encode())
    said.write_text(command_line)
    return medium_of(folder, mounts, said)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("kind", "source", "medium"),
    [
        ("ext4", "/dev/mmcblk0p2", "disk"),
        ("vfat", "/dev/sda1", "disk"),
        ("nfs4", "server:/x", "disk"),
        ("fuse.rclone", "remote:", "disk"),
        ("tmpfs", "tmpfs", "memory"),
        ("ramfs", "none", "memory"),
        ("rootfs", "rootfs", "memory"),
        ("ext4", "/dev/zram1", "memory"),
    ],
)
def test_the_kind_of_file_system_says_it(folder, kind, source, medium):
    others = row("99:1", "tmpfs") + row("99:2", "ext4")
    assert found(folder, others + row(device(folder), kind, source)) == medium


def overlay(folder, upper, command_line="quiet"):
    options = f"rw,lowerdir=/lower,upperdir={upper},workdir=/upper/work"
    return found(folder, row(device(folder), "overlay", "overlay", options), command_line)


@pytest.mark.parametrize(
    ("command_line", "medium"),
    [
        ("console=tty1 boot=overlay quiet", "memory"),
        ("overlayroot=tmpfs:swap=1", "memory"),
        ("overlayroot=/dev/sda2", "unknown"),
        ("quiet", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_overlay_whose_upper_layer_is_out_of_sight_is_what_the_boot_says(
    folder, command_line, medium
):
    assert overlay(folder, "/upper/data", command_line) == medium


def test_an_upper_layer_that_this_user_may_not_look_at_is_out_of_sight(folder, monkeypatch):
    real = type(folder).stat

    def stat(path, **how):
        if path == folder.parent / "docker":
            raise PermissionError(13, "Permission denied")
        return real(path, **how)

    monkeypatch.setattr(type(folder), "stat", stat)
    assert overlay(folder, folder.parent / "docker") == "unknown"


@pytest.mark.parametrize(("below", "medium"), [("ext4", "disk"), ("tmpfs", "memory")])
def test_an_overlay_is_what_its_upper_layer_is(folder, monkeypatch, below, medium):
    upper = folder.parent / "upper layer"
    upper.mkdir()
    devices = {folder: os.makedev(0, 50), upper: os.makedev(8, 1)}
    real = type(folder).stat

    def stat(path, **how):
        there = list(real(path, **how))
        there[2] = devices.get(path, there[2])
        return os.stat_result(there)

    monkeypatch.setattr(type(folder), "stat", stat)
    options = f"rw,lowerdir=/l,upperdir={str(upper).replace(' ', chr(92) + '040')},workdir=/w"
    table = row("8:1", below) + row("0:50", "overlay", "overlay", options)
    assert found(folder, table) == medium


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\xff\xfe\n \n - \n",
        b"36 35\n",
        b"36 35 1:1 / /x rw - tmpfs\n",
        row("1:1", "tmpfs", place="/caf\\040\\351").encode() + b"\xe9\n",
    ],
)
def test_a_table_that_says_nothing_of_it_or_is_nonsense_is_a_disk(folder, table):
    assert found(folder, table) == "disk"


def test_where_there_is_no_table_it_is_a_disk(folder, tmp_path):
    assert medium_of(folder, tmp_path / "none", tmp_path / "none") == "disk"
