"""A real disk that takes nothing for a while, under a real recording."""

import json
import subprocess
from contextlib import contextmanager

import pytest

from edgerec.store.archive.verify import verify
from tests.rigs.cut_recording import Service, why_no_mounts

TROUBLE_S = 5.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.skipif(why_no_mounts() is not None, reason=str(why_no_mounts())),
]


@contextmanager
def mounted(place, *what):
    """Mount something at a folder inside."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *map(str, what), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def losses(root):
    [record] = root.glob("ready/*/*/*_session.json")
    return json.loads(record.read_text())["losses"]


def fill(path):
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as place:
        service = Service(tmp_path, place / "root")
        service.wait_to_hear("published kind=chunk")
        fill(place / "filler")
        service.wait_to_hear("disk error; buffering in memory")
        assert "No space left on device" in service.said()
        service.wait_until_behind(TROUBLE_S)
        (place / "filler").unlink()
        service.wait_to_hear("the disk works again")
        assert service.stop() == 0
        assert verify(place / "root").ok
        assert losses(place / "root") == {}
        assert not list((place / "root" / ".work").iterdir())


def test_a_disk_that_fills_up_with_recordings_is_emptied_by_retention_as_they_are_fetched(tmp_path):
    """4 MB hold a minute; what is acknowledged makes room for the rest."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as place:
        service = Service(tmp_path, place / "root")
        service.wait_to_hear("disk error; buffering in memory")
        for audio in place.glob("root/ready/*/*/*.wav"):
            audio.unlink()  # fetched
        service.wait_to_hear("the disk works again")
        assert service.stop() == 0
        assert verify(place / "root").ok
        assert losses(place / "root") == {}


def test_a_disk_that_is_read_only_for_a_while_costs_nothing(tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        service = Service(tmp_path, disk / "root")
        service.wait_to_hear("published kind=chunk")
        # The same folder, read-only, in front of it: remounting waits for every open file.
        with mounted(disk, "-o", "bind,ro", disk):
            service.wait_to_hear("disk error; buffering in memory")
            assert "Read-only file system" in service.said()
            service.wait_until_behind(TROUBLE_S)
        service.wait_to_hear("the disk works again")
        assert service.stop() == 0
        assert verify(disk / "root").ok
        assert losses(disk / "root") == {}


def test_a_disk_that_is_taken_away_is_noticed_and_the_one_below_is_not_filled(tmp_path):
    disk = tmp_path / "disk"
    (disk / "root" / ".work").mkdir(parents=True)  # somebody once recorded without the mount
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        service = Service(tmp_path, disk / "root")
        service.wait_to_hear("published kind=chunk")
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        service.wait_to_hear("disk error; buffering in memory")
        assert service.stop() == 1
        assert list(disk.rglob("*")) == [disk / "root", disk / "root" / ".work"]
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
