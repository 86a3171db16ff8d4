import os
from pathlib import Path

import pytest

from edgerec.store.disk import StoreError
from edgerec.store.mount import check_mounted

FSTAB = """# what is to be mounted
/dev/mmcblk0p2  /               ext4  defaults  0 1
/dev/sda1       /media/usb      ext4  nofail    0 2
/dev/sdb1       /media/two\\040words  ext4  nofail  0 2
/dev/sdc1       none            swap  sw        0 0
"""


@pytest.fixture
def check(tmp_path):
    def check(root, mounted, *, require_mount=False):
        fstab, mounts = tmp_path / "fstab", tmp_path / "mounts"
        fstab.write_text(FSTAB)
        mounts.write_text("".join(f"/dev/x {point} ext4 rw 0 0\n" for point in mounted))
        check_mounted(root, require_mount=require_mount, fstab=fstab, mounts=mounts)

    return check


def test_a_disk_that_should_be_mounted_and_is_not_is_noticed(check):
    with pytest.raises(StoreError, match=r"/media/usb is in .* and not mounted"):
        check(Path("/media/usb/edgerec"), ["/"])


def test_a_disk_that_is_mounted_is_fine(check):
    check(Path("/media/usb/edgerec"), ["/", "/media/usb"])


def test_other_disks_may_be_missing(check):
    check(Path("/media/usb2/edgerec"), ["/"])


def test_a_mount_point_may_have_a_space(check):
    with pytest.raises(StoreError, match="two words is in"):
        check(Path("/media/two words/edgerec"), ["/", "/media/usb"])


@pytest.mark.parametrize("name", [b"caf\xe9", "S\u00fcd\u2028".encode(), b"a\xc2\x85b", b"a\x0bb"])
def test_names_in_the_tables_are_bytes(check, tmp_path, name):
    point = os.fsdecode(b"/media/" + name)
    with (tmp_path / "fstab").open("wb") as fstab:
        fstab.write(b"/dev/sda1 /media/" + name + b" ext4 nofail 0 2\n")
    mounts = tmp_path / "mounts"
    for mounted in (b"", b"/dev/sdb /media/\xe9 ext4 rw 0 0\n/dev/sda1 /media/" + name + b" x\n"):
        mounts.write_bytes(mounted)
        tables = {"fstab": tmp_path / "fstab", "mounts": mounts}
        if mounted:
            check_mounted(Path(point) / "edgerec", require_mount=False, **tables)
        else:
            with pytest.raises(StoreError, match="not mounted"):
                check_mounted(Path(point) / "edgerec", require_mount=False, **tables)


def test_a_root_on_the_boot_disk_is_refused_where_that_is_asked_for(check):
    with pytest.raises(StoreError, match="it is on the boot disk"):
        check(Path("/no-such-folder/edgerec"), ["/"], require_mount=True)


def test_a_root_on_another_file_system_is_not_refused(check):
    check(Path("/proc/edgerec"), ["/"], require_mount=True)


def test_a_machine_without_fstab_has_no_mount_points(tmp_path):
    mounts = tmp_path / "mounts"
    check_mounted(tmp_path, require_mount=False, fstab=tmp_path / "none", mounts=mounts)
